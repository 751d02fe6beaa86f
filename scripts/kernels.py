"""Tuned kernels beside libraries and beside the machine's peak: the suites ``tune`` and ``operators``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from codegen.measure.config import MeasureConfig
from codegen.measure.peak import measure_peak
from codegen.measure.peers import PeerTimes
from codegen.measure.pool import MeasurePool
from codegen.ops import WORKLOADS
from codegen.schedule import build_space
from codegen.target import Target
from scripts.display import progress, show_table
from scripts.groups import SearchOption
from scripts.predicting import Guide
from scripts.tuning import PoolMeasurer, reproduce_command, search_schedules
from scripts.winning import choose_winner, compare, latency_metrics
from search.tuner import Trial

NUM_FINALISTS = 5


@dataclass(frozen=True)
class TunedWorkload:
    """One workload's winner and the libraries timed beside it; ``peak_gflops`` was measured around that."""

    name: str
    times: Mapping[str, PeerTimes]
    peak_gflops: float

    def metrics(self) -> dict[str, float | int]:
        """As of ``tune.py``."""
        return dict(latency_metrics(WORKLOADS[self.name], self.times))

    def gflops(self, kernel: str) -> float:
        """Of ours (``looprank``) or of a library."""
        return WORKLOADS[self.name].flops / self.times[kernel].summary.median_s / 1e9


@dataclass(frozen=True)
class KernelTuner:
    """Tunes workloads one after another, all in the same way."""

    search: SearchOption
    guide: Guide
    measure: MeasureConfig
    target: Target
    seed: int

    def tune(self, name: str) -> TunedWorkload:
        """Search, choose, and time beside the libraries, with the peak just before and after.

        A core that others use, or that runs hot, loses speed for seconds: a peak from another minute may lie
        below a kernel.
        """
        operator = WORKLOADS[name]
        space = build_space(operator.program(), self.target)
        predictor = self.guide.predictor(space, self.seed)
        with MeasurePool(self.measure, reproduce_command) as pool, progress(f"tuning {name}") as tick:

            def on_trial(trial: Trial) -> None:
                tick(trial.trial, self.search.budget().num_trials or 0)

            measurer = PoolMeasurer(pool, operator, space, self.seed)
            result = search_schedules(self.search, predictor, measurer, self.seed, None, on_trial)
            winner = choose_winner(measurer.measure_finalists(result, NUM_FINALISTS), space)
        before = measure_peak(self.target).gflops_all
        times = compare(operator, winner.kernel, self.seed)
        return TunedWorkload(name, times, max(before, measure_peak(self.target).gflops_all))


def show_workloads(tuned: Sequence[TunedWorkload]) -> None:
    """Print a table per workload: each kernel's speed, and ours over it."""
    peak = max(each.peak_gflops for each in tuned)
    columns = ["kernel", "ms", "GFLOP/s", "ours is faster by", "share of FMA peak", "correct"]
    for each in tuned:
        ours_s = each.times["looprank"].summary.median_s
        rows = [
            (
                name,
                1e3 * times.summary.median_s,
                each.gflops(name),
                times.summary.median_s / ours_s,
                each.gflops(name) / peak,
                str(times.is_correct),
            )
            for name, times in each.times.items()
        ]
        show_table(each.name, columns, rows)


def workload_metrics(tuned: Sequence[TunedWorkload], num_trials: int) -> dict[str, float | int | str]:
    """Per workload by prefix, and over all: the geometric mean and the worst ratio to the best library.

    Shares of the peak are of the best peak seen around any of them.
    """
    peak = max(each.peak_gflops for each in tuned)
    values: dict[str, float | int | str] = {}
    ratios: dict[str, float] = {}
    for each in tuned:
        metrics = each.metrics()
        kept = ("gflops", "vs_best", "latency_s", "torch_latency_s", "onnxruntime_latency_s", "correct")
        values.update({f"{each.name}_{name}": metrics[name] for name in kept if name in metrics})
        values[f"{each.name}_share_of_peak"] = each.gflops("looprank") / peak
        if "vs_best" in metrics:  # no library here may have the operator
            ratios[each.name] = float(metrics["vs_best"])
    if ratios:
        worst = min(ratios, key=lambda name: ratios[name])
        values["geomean_vs_best"] = float(np.exp(np.mean(np.log(list(ratios.values())))))
        values |= {"worst_vs_best": ratios[worst], "worst_name": worst}
    return {**values, "trials": num_trials, "peak_gflops": peak}
