"""What the suite ``gpu`` says of its workloads."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
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

    Bytes count each operand and the output once. ``rank_correlation`` is Spearman's; NaN if it is unknown.
    """

    name: str
    operator: Operator
    target: GpuTarget
    times: Mapping[str, PeerTimes]
    sketch: str
    trials: int
    num_failed: int
    tune_s: float
    rank_correlation: float

    @property
    def eager_s(self) -> float:
        """The fastest eager PyTorch."""
        return self._fastest(lambda name: name != OURS and "compiled" not in name)

    @property
    def best_s(self) -> float:
        """The fastest PyTorch of all."""
        return self._fastest(lambda name: name != OURS)

    @property
    def metrics(self) -> Values:
        """Without the name as a prefix."""
        ours = self.times[OURS]
        seconds, device = ours.summary.median_s, gpu_device(self.target.device)
        values: Values = {f"{who}_latency_s": each.summary.median_s for who, each in self.times.items()}
        values["latency_s"] = values.pop(f"{OURS}_latency_s")
        if math.isfinite(self.best_s):
            values |= {"vs_eager": self.eager_s / seconds, "vs_best": self.best_s / seconds}
        if math.isfinite(self.rank_correlation):
            values["rank_correlation"] = self.rank_correlation
        return values | {
            "latency_low_s": ours.summary.low_s,
            "latency_high_s": ours.summary.high_s,
            "tflops": self.operator.flops / seconds / 1e12,
            "share_of_roofline": roofline_s(self.operator, self.target, device) / seconds,
            "max_abs_error": ours.max_abs_error,
            "correct": int(ours.is_correct),
            "sketch": self.sketch,
            "trials": self.trials,
            "num_failed": self.num_failed,
            "tune_s": self.tune_s,
        }

    def _fastest(self, takes: Callable[[str], bool]) -> float:
        medians = [each.summary.median_s for name, each in self.times.items() if takes(name)]
        return min(medians, default=math.inf)


def roofline_s(operator: Operator, target: GpuTarget, device: GpuDevice) -> float:
    """The least time by the device's published rates: operations in the format, or bytes moved once."""
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
        "num_correct": sum(int(each.metrics["correct"]) for each in standings),
        "trials_per_s": sum(each.trials for each in standings) / sum(each.tune_s for each in standings),
    }


def gpu_table(standings: Sequence[GpuStanding]) -> tuple[list[str], list[tuple[str, ...]]]:
    """Columns and rows of text."""
    columns = ["workload", "ours, us", "interval", "eager, us", "best, us", "eager / ours", "best / ours"]
    columns += ["TFLOP/s", "share of roofline", "rank correlation", "sketch", "correct"]
    rows = []
    for each in standings:
        found, ours = each.metrics, each.times[OURS].summary
        rivals = [f"{1e6 * s:.1f}" if math.isfinite(s) else "" for s in (each.eager_s, each.best_s)]
        ratios = [f"{found[key]:.2f}" if key in found else "" for key in ("vs_eager", "vs_best")]
        rows.append(
            (
                each.name,
                f"{1e6 * ours.median_s:.1f}",
                f"{1e6 * ours.low_s:.1f}-{1e6 * ours.high_s:.1f}",
                *rivals,
                *ratios,
                f"{found['tflops']:.1f}",
                f"{found['share_of_roofline']:.2f}",
                f"{found['rank_correlation']:.2f}" if "rank_correlation" in found else "",
                each.sketch,
                "yes" if found["correct"] else "no",
            )
        )
    return columns, rows
