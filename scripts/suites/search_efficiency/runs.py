"""Runs of guided and of random search on the same workloads, each resumable from its journal."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

from codegen.measure.config import MeasureConfig
from codegen.measure.pool import MeasurePool
from codegen.ops import WORKLOADS
from codegen.schedule import build_space
from codegen.target import Target
from scripts.learning.guide import Guide
from scripts.options.figures import ComparisonConfig
from scripts.options.searches import AnnealerConfig, RandomConfig, SearchOption
from scripts.running.display import progress
from scripts.suites.search_efficiency.curves import Comparison, curves_of, draw_curves, write_curves
from scripts.tuning.measured_search import PoolMeasurer, reproduce_command, search_identity, search_schedules
from search.journal import open_journal
from search.tuner import Trial


def compare_searches(
    config: ComparisonConfig,
    guided: AnnealerConfig,
    guide: Guide,
    target: Target,
    measure: MeasureConfig,
    folder: Path,
) -> list[Comparison]:
    """Make all runs, or what is left of them; writes the curves and the plot to ``folder``."""
    options: dict[str, SearchOption] = {
        "random": RandomConfig(trials=config.random_trials, plan=guided.plan),
        "annealer": replace(guided, trials=config.guided_trials),
    }
    done = 0
    comparisons = []
    with MeasurePool(measure, reproduce_command) as pool, progress("trials") as tick:
        for workload in config.workloads:
            space = build_space(WORKLOADS[workload].program(), target)
            measurer = PoolMeasurer(pool, WORKLOADS[workload], space)
            latencies: dict[str, list[list[float | None]]] = {method: [] for method in options}
            for seed, (method, option) in itertools.product(range(config.num_seeds), options.items()):
                name = f"{workload}_{method}_{seed}"

                def on_trial(trial: Trial, name: str = name) -> None:
                    nonlocal done
                    done += 1
                    tick(done, config.num_trials, name)

                identity = search_identity(option, guide, measurer, measure, seed)
                predictor = guide.predictor(space, seed)
                with open_journal(folder / "runs" / f"{name}.jsonl", identity) as journal:
                    result = search_schedules(option, predictor, measurer, seed, journal, on_trial)
                latencies[method].append([trial.latency_s for trial in result.history])
            random = curves_of(latencies["random"], config.random_trials)
            annealer = curves_of(latencies["annealer"], config.guided_trials)
            comparisons.append(Comparison(workload, random, annealer))
    write_curves(folder / "search_efficiency.csv", comparisons)
    draw_curves(folder / "search_efficiency.png", comparisons, lambda name: WORKLOADS[name].flops)
    return comparisons
