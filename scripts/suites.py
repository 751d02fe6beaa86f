"""The suites of ``benchmark.py``: each takes the settings and gives flat metrics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from omegaconf import MISSING

from codegen.measure.config import MeasureConfig
from codegen.measure.peak import measure_peak
from codegen.measure.pool import MeasurePool
from codegen.ops import WORKLOADS
from codegen.schedule import build_space
from codegen.target import Target
from costmodel.dataset import dataset_of
from scripts.comparing import compare_searches
from scripts.data import DataConfig
from scripts.display import progress
from scripts.efficiency import ComparisonConfig, comparison_metrics
from scripts.groups import TargetConfig
from scripts.models import TreeGRUOption
from scripts.predicting import Guide
from scripts.throughput import annealing_rate, candidates_rate, compile_times, epoch_time, median, trial_rate
from scripts.tuning import PoolMeasurer, reproduce_command, search_schedules
from scripts.winning import choose_winner, compare, latency_metrics
from search.tuner import Trial

Values: TypeAlias = dict[str, float | int | str]

BATCH = 4096
"""Candidates mutated and scored at once in the throughput suite."""

NUM_COMPILED, NUM_MEASURED = 40, 64


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """``figure`` names the workloads of the suites ``search`` and ``tune``, and sizes the first.

    ``workload`` is what the throughput is measured on; ``search`` with its ``trials`` is what tunes.
    """

    suite: str = "throughput"
    seed: int = 0
    workload: str = "resnet18_c2"
    data: DataConfig = MISSING
    target: TargetConfig = MISSING
    model: Any = MISSING
    loss: Any = MISSING
    checkpoint: str = "shipped"
    search: Any = MISSING
    figure: ComparisonConfig = MISSING
    measure: MeasureConfig = field(default_factory=MeasureConfig)
    logger: Any = MISSING

    def __post_init__(self) -> None:
        if self.suite not in (*SUITES, "all"):
            raise ValueError(f"suite must be {', '.join(SUITES)} or all, got {self.suite!r}")
        if self.workload not in WORKLOADS:
            raise ValueError(f"workload must be one of {', '.join(WORKLOADS)}, got {self.workload!r}")


def throughput(config: Benchmark, target: Target, folder: Path) -> Values:
    """How fast candidates are scored, compiled and measured, and how long an epoch of training takes."""
    if not isinstance(config.model, TreeGRUOption):
        raise ValueError("suite=throughput measures the training of model=treegru; choose that model")
    space = build_space(WORKLOADS[config.workload].program(), target)
    predictor = Guide(config.model, config.loss, config.checkpoint).predictor(space, config.seed)
    values: Values = {
        "candidates_per_s": candidates_rate(space, predictor, BATCH),
        "annealed_candidates_per_s": annealing_rate(space, predictor, config.search.anneal),
    }
    compile_s = compile_times(space, NUM_COMPILED)
    values |= {"compile_median_s": median(compile_s), "compile_max_s": max(compile_s)}
    with MeasurePool(config.measure, reproduce_command) as pool:
        measurer = PoolMeasurer(pool, WORKLOADS[config.workload], space, config.seed)
        values["trials_per_s"], measured = trial_rate(measurer, NUM_MEASURED)
    values["num_failed_trials"] = sum(measurement.failure is not None for measurement in measured)
    data = dataset_of(config.data.divide(config.data.table(), config.seed).train)
    values |= {
        "train_epoch_s": epoch_time(config.model, config.loss, data),
        "num_train_candidates": len(data),
    }
    return values


def search(config: Benchmark, target: Target, folder: Path) -> Values:
    """Trials that the guided annealer needs for what random search finds."""
    guide = Guide(config.model, config.loss, config.checkpoint)
    comparisons = compare_searches(config.figure, config.search, guide, target, config.measure, folder)
    return dict(comparison_metrics(comparisons))


def tune(config: Benchmark, target: Target, folder: Path) -> Values:
    """Tuned kernels of the figure's workloads beside the best library, and matmul beside the FMA peak."""
    return _tune_all(config, target, config.figure.workloads)


def operators(config: Benchmark, target: Target, folder: Path) -> Values:
    """The same for every named workload."""
    return _tune_all(config, target, list(WORKLOADS))


SUITES: dict[str, Callable[[Benchmark, Target, Path], Values]] = {
    "throughput": throughput,
    "search": search,
    "tune": tune,
    "operators": operators,
}


def _tune_all(config: Benchmark, target: Target, workloads: Sequence[str]) -> Values:
    values: Values = {}
    ratios: dict[str, float] = {}
    for workload in workloads:
        metrics = _tune_one(config, target, workload)
        kept = ("gflops", "vs_best", "latency_s", "correct")
        values.update({f"{workload}_{name}": metrics[name] for name in kept})
        ratios[workload] = float(metrics["vs_best"])
    worst = min(ratios, key=lambda name: ratios[name])
    values["geomean_vs_best"] = float(np.exp(np.mean(np.log(list(ratios.values())))))
    values |= {"worst_vs_best": ratios[worst], "worst_name": worst, "trials": config.search.trials}
    values["peak_gflops"] = peak = measure_peak(target).gflops_all
    if "matmul_512" in ratios:
        values["matmul_512_share_of_peak"] = float(values["matmul_512_gflops"]) / peak
    return values


def _tune_one(config: Benchmark, target: Target, workload: str) -> dict[str, float | int]:
    operator = WORKLOADS[workload]
    space = build_space(operator.program(), target)
    predictor = Guide(config.model, config.loss, config.checkpoint).predictor(space, config.seed)
    with MeasurePool(config.measure, reproduce_command) as pool, progress(f"tuning {workload}") as tick:

        def on_trial(trial: Trial) -> None:
            tick(trial.trial, config.search.trials)

        measurer = PoolMeasurer(pool, operator, space, config.seed)
        result = search_schedules(config.search, predictor, measurer, config.seed, None, on_trial)
        winner = choose_winner(measurer.measure_finalists(result, 5), space)
    return latency_metrics(operator, compare(operator, winner.kernel, config.seed))
