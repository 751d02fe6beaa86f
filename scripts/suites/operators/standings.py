"""A tuned kernel beside libraries and the machine's ceilings: one row of the operators' table."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from codegen.measure.peers import PeerTimes
from codegen.measure.ratios import Ratio, ratio_to_best
from codegen.ops import Operator

OURS = "looprank"

OURS_IN_FLOAT32 = "looprank_float32"

TORCH_BF16 = "torch_bf16"

BESIDE = ("torch_packed", "tvm_trials", "tvm_seconds", OURS_IN_FLOAT32, TORCH_BF16)
"""Contestants that the best library is not chosen from: operators of torch that have no public interface,
TVM's tuned kernels, and where ours may multiply in bfloat16, ours that do not and torch that does."""


@dataclass(frozen=True)
class Interval:
    """Seconds per call: the median of the rounds and its 95 % interval."""

    median_s: float
    low_s: float
    high_s: float


@dataclass(frozen=True)
class Ceilings:
    """What all threads reached at most in the run, in 10^9 operations and 10^9 bytes a second."""

    peak_gflops: float
    bandwidth_gb_s: float


@dataclass(frozen=True, kw_only=True)
class Standing:
    """One workload's comparison, as plain numbers.

    ``num_bytes`` is what the operator has to read and write: each operand and the output once.
    ``ratio`` is to the best library, None where none here has the operator; ``beside`` holds the ratios
    to those of ``BESIDE``.
    """

    name: str
    flops: int
    num_bytes: int
    sketch: str
    trials: int
    is_correct: bool
    max_abs_error: float
    ours: Interval
    libraries: Mapping[str, Interval]
    ratio: Ratio | None
    beside: Mapping[str, Ratio]
    ceilings: Ceilings
    code_version: str

    @property
    def gflops(self) -> float:
        """Ours, counting the operations of the definition: Winograd needs fewer."""
        return self.flops / self.ours.median_s / 1e9

    @property
    def share_of_peak(self) -> float:
        """Of the FMA peak; above 1 is possible where an algorithm multiplies less."""
        return self.gflops / self.ceilings.peak_gflops

    @property
    def share_of_bandwidth(self) -> float:
        """Of the memory bandwidth; above 1 where operands stay in a cache between calls."""
        return self.num_bytes / self.ours.median_s / 1e9 / self.ceilings.bandwidth_gb_s

    @property
    def intensity(self) -> float:
        """Operations per byte."""
        return self.flops / self.num_bytes

    @property
    def bound(self) -> str:
        """The lower of the two roofs at this intensity, if all operands came from memory: FMA or memory."""
        return (
            "memory" if self.intensity * self.ceilings.bandwidth_gb_s < self.ceilings.peak_gflops else "FMA"
        )


def make_standing(
    name: str,
    operator: Operator,
    times: Mapping[str, PeerTimes],
    ceilings: Ceilings,
    sketch: str,
    trials: int,
    code_version: str,
) -> Standing:
    """From the interleaved rounds of ours (``looprank``) and the libraries."""
    program = operator.program()
    intervals = {who: _interval(each) for who, each in times.items()}
    ours_s = times[OURS].times_s
    beside = {who: ratio_to_best(ours_s, {who: times[who].times_s}) for who in BESIDE if who in times}
    rivals = {who: each.times_s for who, each in times.items() if who not in (OURS, *BESIDE)}
    return Standing(
        name=name,
        flops=operator.flops,
        num_bytes=sum(tensor.num_bytes for tensor in (*program.inputs, program.output)),
        sketch=sketch,
        trials=trials,
        is_correct=times[OURS].is_correct,
        max_abs_error=times[OURS].max_abs_error,
        ours=intervals[OURS],
        libraries={who: interval for who, interval in intervals.items() if who != OURS},
        ratio=ratio_to_best(ours_s, rivals) if rivals else None,
        beside=beside,
        ceilings=ceilings,
        code_version=code_version,
    )


def standing_metrics(standings: Sequence[Standing]) -> dict[str, float | int | str]:
    """Per workload by prefix, and over all: the geometric mean and the worst ratio to the best library."""
    values: dict[str, float | int | str] = {}
    for each in standings:
        values |= {f"{each.name}_{key}": value for key, value in _metrics(each).items()}
    values |= _over_all("best", "worst_name", {each.name: each.ratio for each in standings if each.ratio})
    for who in BESIDE:
        found = {each.name: each.beside[who] for each in standings if who in each.beside}
        values |= _over_all(who, f"worst_{who}_name", found)
    ceilings = best_ceilings(each.ceilings for each in standings)
    return {
        **values,
        "num_incorrect": sum(not each.is_correct for each in standings),
        "trials": max(each.trials for each in standings),
        "peak_gflops": ceilings.peak_gflops,
        "bandwidth_gb_s": ceilings.bandwidth_gb_s,
    }


def best_ceilings(measured: Iterable[Ceilings]) -> Ceilings:
    """The best of several measurements, since other work can only make them lower."""
    every = list(measured)
    return Ceilings(max(c.peak_gflops for c in every), max(c.bandwidth_gb_s for c in every))


def _over_all(who: str, worst_key: str, ratios: Mapping[str, Ratio]) -> dict[str, float | str]:
    if not ratios:
        return {}
    worst = min(ratios, key=lambda name: ratios[name].value)
    mean = math.exp(sum(math.log(ratio.value) for ratio in ratios.values()) / len(ratios))
    return {f"geomean_vs_{who}": mean, f"worst_vs_{who}": ratios[worst].value, worst_key: worst}


def _metrics(each: Standing) -> dict[str, float | int | str]:
    values: dict[str, float | int | str] = {
        "sketch": each.sketch,
        "correct": int(each.is_correct),
        "max_abs_error": each.max_abs_error,
        "gflops": each.gflops,
        "share_of_peak": each.share_of_peak,
        "share_of_bandwidth": each.share_of_bandwidth,
        **_interval_values("", each.ours),
    }
    for who, interval in each.libraries.items():
        values |= _interval_values(f"{who}_", interval)
    torch_s = [
        interval.median_s
        for who, interval in each.libraries.items()
        if who.startswith("torch") and who not in BESIDE
    ]
    if torch_s:
        values["torch_latency_s"] = min(torch_s)
    if each.ratio:
        values["best_library"] = each.ratio.rival
    return {**values, **ratio_values(each)}


def ratio_values(each: Standing) -> dict[str, float]:
    """``vs_best`` and the ratios to those beside it, each with the ends of its interval."""
    ratios = {**({"best": each.ratio} if each.ratio else {}), **each.beside}
    values: dict[str, float] = {}
    for who, ratio in ratios.items():
        values |= {f"vs_{who}": ratio.value, f"vs_{who}_low": ratio.low, f"vs_{who}_high": ratio.high}
    return values


def _interval(times: PeerTimes) -> Interval:
    return Interval(times.summary.median_s, times.summary.low_s, times.summary.high_s)


def _interval_values(prefix: str, interval: Interval) -> dict[str, float]:
    return {
        f"{prefix}latency_s": interval.median_s,
        f"{prefix}latency_low_s": interval.low_s,
        f"{prefix}latency_high_s": interval.high_s,
    }
