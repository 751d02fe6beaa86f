"""What the suite ``gpu`` says of its workloads."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from codegen.gpu_device import GpuDevice, gpu_device
from codegen.gpu_target import GpuTarget
from codegen.measure.gpu_peers_torch import OURS
from codegen.measure.peers import PeerTimes
from codegen.ops import Operator

Values: TypeAlias = dict[str, float | int | str]


@dataclass(frozen=True)
class GpuStanding:
    """One workload: our winner beside PyTorch, and how the analytic model ranked random candidates.

    ``times`` is empty if no schedule could be measured. ``search_s``: seconds of tuning, over all parts of a
    run that was interrupted. ``rank_correlation`` is Spearman's; NaN if it is unknown.
    """

    name: str
    operator: Operator
    target: GpuTarget
    times: Mapping[str, PeerTimes]
    sketch: str
    trials: int
    num_failed: int
    search_s: float
    rank_correlation: float

    @property
    def eager_s(self) -> float:
        """The fastest eager PyTorch; infinite without one."""
        return min((s for name, s in self._rivals.items() if "compiled" not in name), default=math.inf)

    @property
    def best_s(self) -> float:
        """The fastest PyTorch of all; infinite without one."""
        return min(self._rivals.values(), default=math.inf)

    @property
    def best_rival(self) -> str:
        """Which that is; empty without one."""
        rivals = self._rivals
        return min(rivals, key=lambda name: rivals[name], default="")

    @property
    def metrics(self) -> Values:
        """Without the name as a prefix."""
        effort: Values = {"trials": self.trials, "num_failed": self.num_failed, "search_s": self.search_s}
        if math.isfinite(self.rank_correlation):
            effort["rank_correlation"] = self.rank_correlation
        return {**effort, **self._found} if self.times else effort

    @property
    def _found(self) -> Values:
        ours = self.times[OURS]
        seconds, device = ours.summary.median_s, gpu_device(self.target.device)
        values: Values = {f"{who}_latency_s": each.summary.median_s for who, each in self.times.items()}
        values["latency_s"] = values.pop(f"{OURS}_latency_s")
        if math.isfinite(self.best_s):
            values |= {"vs_eager": self.eager_s / seconds, "vs_best": self.best_s / seconds}
            values["best_rival"] = self.best_rival
        return values | {
            "latency_low_s": ours.summary.low_s,
            "latency_high_s": ours.summary.high_s,
            "tflops": self.operator.flops / seconds / 1e12,
            "share_of_roofline": roofline_s(self.operator, self.target, device) / seconds,
            "max_abs_error": ours.max_abs_error,
            "correct": int(ours.is_correct),
            "sketch": self.sketch,
        }

    @property
    def _rivals(self) -> Mapping[str, float]:
        return {name: each.summary.median_s for name, each in self.times.items() if name != OURS}


def roofline_s(operator: Operator, target: GpuTarget, device: GpuDevice) -> float:
    """The least time by the device's published rates: operations in the format, or bytes moved.

    Bytes count each operand and the output once.
    """
    element_bytes = 4 if target.precision.storage == "float32" else 2
    num_bytes = element_bytes * sum(math.prod(shape) for shape in operator.user_shapes().values())
    rate = target.precision.dot_input if target.precision.storage == "float32" else target.precision.storage
    peak = device.peak_flops_per_s.get(rate, device.peak_flops_per_s["float32"])
    return max(operator.flops / peak, num_bytes / device.memory_bytes_per_s)


def over_all(standings: Sequence[GpuStanding]) -> Values:
    """By workload, and geometric means, the worst, rates and the mean rank correlation over all."""
    values: Values = {}
    for each in standings:
        values |= {f"{each.name}_{key}": value for key, value in each.metrics.items()}
    for key in ("vs_eager", "vs_best"):
        ratios = {each.name: float(each.metrics[key]) for each in standings if key in each.metrics}
        if ratios:
            worst = min(ratios, key=lambda name: ratios[name])
            values[f"geomean_{key}"] = math.exp(sum(map(math.log, ratios.values())) / len(ratios))
            values |= {f"worst_{key}": ratios[worst], f"worst_{key}_name": worst}
    correlations = [each.rank_correlation for each in standings if math.isfinite(each.rank_correlation)]
    if correlations:
        values["mean_rank_correlation"] = sum(correlations) / len(correlations)
    return values | {
        "num_workloads": len(standings),
        "num_unmeasured": sum(not each.times for each in standings),
        "num_correct": sum(int(each.metrics.get("correct", 0)) for each in standings),
        "trials_per_s": sum(each.trials for each in standings) / sum(each.search_s for each in standings),
    }


def gpu_table(standings: Sequence[GpuStanding]) -> tuple[list[str], list[tuple[str, ...]]]:
    """Columns and rows of text."""
    columns = ["workload", "ours, us", "interval", "eager, us", "best, us", "best is"]
    columns += ["eager / ours", "best / ours", "TFLOP/s", "share of roofline", "rank correlation", "sketch"]
    return [*columns, "correct"], [_row(each) for each in standings]


def _row(each: GpuStanding) -> tuple[str, ...]:
    correlation = f"{each.rank_correlation:.2f}" if math.isfinite(each.rank_correlation) else ""
    if not each.times:
        return (each.name, *[""] * 9, correlation, "no schedule could be measured", "no")
    found, ours = each.metrics, each.times[OURS].summary
    rivals = [f"{1e6 * s:.1f}" if math.isfinite(s) else "" for s in (each.eager_s, each.best_s)]
    ratios = [f"{found[key]:.2f}" if key in found else "" for key in ("vs_eager", "vs_best")]
    return (
        each.name,
        f"{1e6 * ours.median_s:.1f}",
        f"{1e6 * ours.low_s:.1f}-{1e6 * ours.high_s:.1f}",
        *rivals,
        each.best_rival,
        *ratios,
        f"{found['tflops']:.1f}",
        f"{found['share_of_roofline']:.2f}",
        correlation,
        each.sketch,
        "yes" if found["correct"] else "no",
    )
