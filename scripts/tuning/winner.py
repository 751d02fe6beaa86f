"""The winner of a tuning run: compiled, checked, and timed beside libraries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from codegen.llvm.artefact import load, save_kernel
from codegen.llvm.build import compile_program
from codegen.llvm.kernel import Kernel
from codegen.measure.config import MeasureConfig
from codegen.measure.peers import Binder, PeerTimes, kernel_binder, time_peers
from codegen.measure.pool import Finalist, MeasurePool
from codegen.measure.steadiness import Watch, watching
from codegen.measure.timing import Summary
from codegen.ops import Operator, operator_parameters, tolerance
from codegen.schedule import Space
from codegen.target import Target
from scripts.running.display import time_unit


@dataclass(frozen=True)
class Winner:
    """The fastest finalist as a kernel; ``num_tied`` counts the finalists that are not shown to be slower.

    ``errors`` are those of its sketch.
    """

    candidate: Mapping[str, Any]
    kernel: Kernel
    summary: Summary
    num_tied: int
    errors: Mapping[str, float] = field(default_factory=dict)


def choose_winner(finalists: Sequence[Finalist], space: Space) -> Winner:
    """Compile the first of ``measure_finalists``; ValueError if all failed."""
    if not finalists or finalists[0].summary is None:
        raise ValueError("no schedule could be measured; history.csv and journal.jsonl say why")
    candidate = finalists[0].job.candidate
    kernel = compile_program(space.lower_named(candidate), space.target)
    num_tied = sum(finalist.is_tied for finalist in finalists)
    return Winner(candidate, kernel, finalists[0].summary, num_tied, space.errors(candidate))


def save_winner(winner: Winner, operator: Operator, folder: Path) -> Kernel:
    """Write the kernel, in the operator's user shapes and with what it computes, and load it again.

    What is checked afterwards is what was saved.
    """
    rtol, atol = tolerance(operator.program(), errors=winner.errors)
    metadata = {
        "operator": operator.operator_name,
        "parameters": operator_parameters(operator),
        "candidate": dict(winner.candidate),
        "latency_s": winner.summary.median_s,
        "tolerance": {"rtol": rtol, "atol": atol},
    }
    kernel = winner.kernel.with_user_shapes(operator.user_shapes())
    return load(save_kernel(kernel, folder, metadata))


def compare(
    operator: Operator,
    kernel: Kernel,
    seed: int,
    others: Mapping[str, Binder] | None = None,
    errors: Mapping[str, float] | None = None,
    watch: Watch | None = None,
) -> dict[str, PeerTimes]:
    """Our kernel (``looprank``), the libraries that have the operator and others, in one interleaved run.

    ``errors`` are those of our kernel's sketch; ``watch`` is as in ``time_peers``.
    """
    kernels = {"looprank": kernel_binder(kernel), **(others or {})}
    own_errors = {"looprank": errors or {}}
    num_threads = kernel.target.num_threads
    return time_peers(operator, kernels, num_threads, seed=seed, errors=own_errors, watch=watch)


def comparison_watch(
    pool: MeasurePool, target: Target, measure: MeasureConfig, worked_s: float
) -> AbstractContextManager[Watch | None]:
    """Looks at the machine around comparisons, knowing what is usual from the trials on the same target.

    ``worked_s`` is what the run took so far: its waits may add their share of that. None, where nobody looks.
    """
    return watching(target, measure.steady_wait_s, measure.steady_share, pool.readings(target), worked_s)


def unsteady_text(*comparisons: Mapping[str, PeerTimes]) -> str:
    """Whether comparisons were done on a slow machine, for a sentence; empty if they were not."""
    ours = [times["looprank"] for times in comparisons]
    num, num_rounds = sum(each.num_unsteady for each in ours), sum(len(each.times_s) for each in ours)
    where = f"{num} of the {num_rounds} rounds beside libraries"
    return f"the machine was slower than usual in {where}" if num else ""


def comparison_table(
    operator: Operator, times: Mapping[str, PeerTimes]
) -> tuple[list[str], list[tuple[object, ...]]]:
    """Header and rows: who, the time, GFLOP/s, whether the output is right."""
    medians_s = {name: each.summary.median_s for name, each in times.items()}
    unit, per_second = time_unit([*medians_s.values()])
    rows: list[tuple[object, ...]] = [
        (name, per_second * median_s, operator.flops / median_s / 1e9, str(times[name].is_correct))
        for name, median_s in medians_s.items()
    ]
    return ["kernel", unit, "GFLOP/s", "correct"], rows


def winner_metrics(
    operator: Operator, winner: Winner, times: Mapping[str, PeerTimes]
) -> dict[str, float | int]:
    """``latency_metrics``, how many finalists it ties with, and its error bound for results around zero.

    ``num_unsteady_rounds`` are those of the comparison in which the machine was slower than usual.
    """
    _, atol = tolerance(operator.program(), errors=winner.errors)
    return {
        **latency_metrics(operator, times),
        "num_tied": winner.num_tied,
        "error_bound": atol,
        "num_unsteady_rounds": times["looprank"].num_unsteady,
    }


def latency_metrics(operator: Operator, times: Mapping[str, PeerTimes]) -> dict[str, float | int]:
    """Of our kernel (``looprank``) and of every library timed beside it, for ``metrics.json``."""
    ours = times["looprank"]
    metrics: dict[str, float | int] = {
        "latency_s": ours.summary.median_s,
        "latency_low_s": ours.summary.low_s,
        "latency_high_s": ours.summary.high_s,
        "gflops": operator.flops / ours.summary.median_s / 1e9,
        "correct": int(ours.is_correct),
        "max_abs_error": ours.max_abs_error,
    }
    peers = {name: peer.summary.median_s for name, peer in times.items() if name != "looprank"}
    metrics.update({f"{name}_latency_s": latency_s for name, latency_s in peers.items()})
    torch_s = [latency_s for name, latency_s in peers.items() if name.startswith("torch")]
    if torch_s:
        metrics["torch_latency_s"] = min(torch_s)
    if peers:
        metrics["vs_best"] = min(peers.values()) / ours.summary.median_s
    return metrics
