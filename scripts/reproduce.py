"""Draw a figure of the papers from real runs: python scripts/reproduce.py figure=search_efficiency.

Repeated with the same hydra.run.dir, it goes on with what is missing. It ends with a comparison with the
stored result.
"""

from __future__ import annotations

import math
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.running.interruption import end_quietly_when_interrupted

end_quietly_when_interrupted()

from omegaconf import MISSING

from codegen.measure.config import MeasureConfig
from scripts.learning.guide import Guide
from scripts.options.figures import ComparisonConfig
from scripts.options.groups import TargetConfig, register_groups
from scripts.options.searches import annealer_of
from scripts.running.display import say, show_table
from scripts.running.launch import ROOT, Run, launch
from scripts.running.outputs import Metrics
from scripts.suites.search_efficiency.curves import Comparison, comparison_metrics
from scripts.suites.search_efficiency.runs import compare_searches
from scripts.suites.search_efficiency.stored_figure import agreement, curve_points, read_points, write_points


@dataclass(frozen=True, kw_only=True)
class Reproduce:
    """``search`` is the annealer that is compared with random search; ``checkpoint`` as in ``tune.py``.

    ``stored`` is the result to agree with, the ``points.csv`` of an earlier run; a relative path is looked
    for here and then in the project.
    """

    seed: int = 0
    figure: ComparisonConfig = MISSING
    target: TargetConfig = MISSING
    model: Any = MISSING
    loss: Any = MISSING
    checkpoint: str = "shipped"
    search: Any = MISSING
    measure: MeasureConfig = field(default_factory=MeasureConfig)
    stored: str = "docs/results/search_efficiency/points.csv"
    logger: Any = MISSING


def run(run: Run[Reproduce]) -> Metrics:
    """Make the runs, then the table, the curves and the plot."""
    config, start_s = run.config, time.monotonic()
    stored = read_points(path if (path := Path(config.stored)).exists() else ROOT / path)
    annealer = annealer_of(config.search, "figure=search_efficiency")
    guide = Guide(config.model, config.loss, config.checkpoint)
    target = config.target.detect()
    comparisons = compare_searches(config.figure, annealer, guide, target, config.measure, run.folder)
    show_table("search efficiency", COLUMNS, [_row(comparison) for comparison in comparisons])
    say(f"plot: {run.folder / 'search_efficiency.png'}, curves: {run.folder / 'search_efficiency.csv'}")
    points = curve_points(comparisons)
    write_points(run.folder / "points.csv", points)
    agreed = agreement(points, stored)
    say(f"{len(agreed.differences)} of {agreed.num_compared} points differ from {config.stored}")
    for difference in agreed.differences:
        say(f"  {difference}")
    return {
        **comparison_metrics(comparisons),
        **agreed.metrics(),
        "num_seeds": config.figure.num_seeds,
        "wall_s": time.monotonic() - start_s,
    }


COLUMNS = ("workload", "random: best, ms", "after trials", "annealer gets there after", "seeds")


def _row(comparison: Comparison) -> tuple[object, ...]:
    seeds, trials = comparison.random.shape
    reached = comparison.guided_trials
    after = f"{reached} trials" if reached else f"more than {comparison.guided.shape[1]} trials"
    best_ms = "none" if math.isnan(comparison.threshold_s) else 1e3 * comparison.threshold_s
    return (comparison.workload, best_ms, trials, after, seeds)


if __name__ == "__main__":
    register_groups()
    launch("reproduce", Reproduce, run)
