"""Draw a figure of the papers from real runs: python scripts/reproduce.py figure=search_efficiency.

Repeated with the same hydra.run.dir, it goes on with what is missing.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from omegaconf import MISSING

from codegen.measure.config import MeasureConfig
from scripts.comparing import compare_searches
from scripts.display import say, show_table
from scripts.efficiency import Comparison, ComparisonConfig, comparison_metrics
from scripts.groups import TargetConfig, register_groups
from scripts.launch import Run, launch
from scripts.outputs import Metrics
from scripts.predicting import Guide


@dataclass(frozen=True, kw_only=True)
class Reproduce:
    """``search`` is the annealer that is compared with random search; ``checkpoint`` as in ``tune.py``."""

    seed: int = 0
    figure: ComparisonConfig = MISSING
    target: TargetConfig = MISSING
    model: Any = MISSING
    loss: Any = MISSING
    checkpoint: str = "shipped"
    search: Any = MISSING
    measure: MeasureConfig = field(default_factory=MeasureConfig)
    logger: Any = MISSING


def run(run: Run[Reproduce]) -> Metrics:
    """Make the runs, then the table, the curves and the plot."""
    config, start_s = run.config, time.monotonic()
    guide = Guide(config.model, config.loss, config.checkpoint)
    target = config.target.detect()
    comparisons = compare_searches(config.figure, config.search, guide, target, config.measure, run.folder)
    show_table("search efficiency", COLUMNS, [_row(comparison) for comparison in comparisons])
    say(f"plot: {run.folder / 'search_efficiency.png'}, curves: {run.folder / 'search_efficiency.csv'}")
    return {
        **comparison_metrics(comparisons),
        "num_seeds": config.figure.num_seeds,
        "wall_s": time.monotonic() - start_s,
    }


COLUMNS = ("workload", "random: best, ms", "after trials", "annealer gets there after", "seeds")


def _row(comparison: Comparison) -> tuple[object, ...]:
    seeds, trials = comparison.random.shape
    reached = comparison.guided_trials
    after = f"{reached} trials" if reached else f"more than {comparison.guided.shape[1]} trials"
    return (comparison.workload, 1e3 * comparison.threshold_s, trials, after, seeds)


if __name__ == "__main__":
    register_groups()
    launch("reproduce", Reproduce, run)
