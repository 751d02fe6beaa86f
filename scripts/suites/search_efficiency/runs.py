"""Runs of guided and of random search on the same workloads, each resumable from its journal."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
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
from scripts.suites.search_efficiency.curves import (
    Comparison,
    Curves,
    curves_of,
    draw_curves,
    write_curves,
)
from scripts.tuning.measured_search import PoolMeasurer, reproduce_command, search_identity, search_schedules
from search.journal import open_journal
from search.trials import Trial
from search.tuner import TuneResult


@dataclass(frozen=True)
class Method:
    """What proposes so many trials, and the model that it asks: one for all seeds, or one for each."""

    search: SearchOption
    guides: Sequence[Guide]
    num_trials: int

    def guide(self, seed: int) -> Guide:
        """The model of the run with this seed."""
        return self.guides[seed % len(self.guides)]


@dataclass(frozen=True)
class Searched:
    """All runs on one workload: by method, a result per seed."""

    workload: str
    measurer: PoolMeasurer
    results: Mapping[str, Sequence[TuneResult]]


def compare_searches(
    config: ComparisonConfig,
    guided: AnnealerConfig,
    guide: Guide,
    target: Target,
    measure: MeasureConfig,
    folder: Path,
) -> list[Comparison]:
    """Make all runs, or what is left of them; writes the curves and the plot to ``folder``."""
    num_random, num_guided = config.random_trials, config.guided_trials
    methods = {
        "random": Method(RandomConfig(trials=num_random, plan=guided.plan), [guide], num_random),
        "annealer": Method(replace(guided, trials=num_guided), [guide], num_guided),
    }
    comparisons = [
        Comparison(
            each.workload,
            _curves(each.results["random"], num_random),
            _curves(each.results["annealer"], num_guided),
        )
        for each in searched_workloads(config, methods, target, measure, folder / "runs")
    ]
    write_curves(folder / "search_efficiency.csv", comparisons)
    draw_curves(folder / "search_efficiency.png", comparisons, lambda name: WORKLOADS[name].flops)
    return comparisons


def searched_workloads(
    config: ComparisonConfig,
    methods: Mapping[str, Method],
    target: Target,
    measure: MeasureConfig,
    folder: Path,
) -> Iterator[Searched]:
    """Workload by workload, all methods in turn with each seed; journals in ``folder`` go on."""
    runs = config.num_seeds * len(config.workloads)
    num_trials = runs * sum(method.num_trials for method in methods.values())
    done = 0
    with MeasurePool(measure, reproduce_command) as pool, progress("trials") as tick:
        for workload in config.workloads:
            space = build_space(WORKLOADS[workload].program(), target)
            measurer = PoolMeasurer(pool, WORKLOADS[workload], space)
            results: dict[str, list[TuneResult]] = {name: [] for name in methods}
            for seed, (name, method) in itertools.product(range(config.num_seeds), methods.items()):
                run = f"{workload}_{name}_{seed}"

                def on_trial(trial: Trial, run: str = run) -> None:
                    nonlocal done
                    done += 1
                    tick(done, num_trials, run)

                guide = method.guide(seed)
                identity = search_identity(method.search, guide, measurer, measure, seed)
                predictor = guide.predictor(space, seed)
                with open_journal(folder / f"{run}.jsonl", identity) as journal:
                    result = search_schedules(method.search, predictor, measurer, seed, journal, on_trial)
                results[name].append(result)
            yield Searched(workload, measurer, results)


def _curves(results: Sequence[TuneResult], num_trials: int) -> Curves:
    return curves_of([[trial.latency_s for trial in result.history] for result in results], num_trials)
