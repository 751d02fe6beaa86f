"""Operators that memory bounds, beside libraries and beside what the machine can move in the same minute."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from codegen.llvm.build import compile_program
from codegen.measure.bandwidth import BandwidthMeter, Rates
from codegen.measure.config import MeasureConfig
from codegen.measure.peers import PeerTimes, kernel_binder, time_peers
from codegen.measure.ratios import Ratio, ratio_to_best
from codegen.measure.rounds import settle
from codegen.measure.steadiness import Watch, watching
from codegen.ops import LARGE_MEMORY_WORKLOADS, Operator
from codegen.schedule import build_space
from codegen.target import Target
from scripts.running.display import progress, say
from scripts.running.markdown import markdown_table
from scripts.running.outputs import write_text
from scripts.suites.operators.standings import OURS
from scripts.tuning.stored_winners import StoredWinner
from scripts.tuning.winner import unsteady_text

NUM_TURNS = 5
ROUNDS_OF_A_TURN = 4


@dataclass(frozen=True, kw_only=True)
class MemoryStanding:
    """One workload. Seconds are medians over all rounds.

    ``num_bytes`` counts each operand and the output once. ``share_of_copy`` is the time that moving them took
    (see ``Mover``), in the same rounds, over ours. ``shares_of_bandwidth`` has a share for each turn: the
    least time that the bytes take in memory, by the copies and reads of large arrays around the turn,
    over our median in the turn. Above 1 means that something stayed in a cache between calls.
    """

    name: str
    num_bytes: int
    sketch: str
    times_s: Mapping[str, float]
    share_of_copy: Ratio
    shares_of_bandwidth: tuple[float, ...]
    is_correct: bool

    @property
    def is_large(self) -> bool:
        """Whether it lies beyond the caches: bandwidth is then the aim, else to be ahead of libraries."""
        return self.name in LARGE_MEMORY_WORKLOADS

    @property
    def metrics(self) -> dict[str, float | int]:
        """Without the name as a prefix."""
        ours_s = self.times_s[OURS]
        libraries = {who: s for who, s in self.times_s.items() if who != OURS}
        values: dict[str, float | int] = {f"{who}_latency_s": s for who, s in libraries.items()}
        values |= {f"vs_{who}": s / ours_s for who, s in libraries.items()}
        values |= {"vs_best": min(libraries.values()) / ours_s} if libraries else {}
        return values | {
            "latency_s": ours_s,
            "gb_per_s": self.num_bytes / ours_s / 1e9,
            "share_of_copy": self.share_of_copy.value,
            "share_of_copy_low": self.share_of_copy.low,
            "share_of_copy_high": self.share_of_copy.high,
            "share_of_bandwidth": float(np.median(self.shares_of_bandwidth)),
            "share_of_bandwidth_low": min(self.shares_of_bandwidth),
            "share_of_bandwidth_high": max(self.shares_of_bandwidth),
            "correct": int(self.is_correct),
        }


def stand_in_memory(
    workloads: Mapping[str, Operator],
    winners: Mapping[str, StoredWinner],
    target: Target,
    seed: int,
    measure: MeasureConfig,
) -> list[MemoryStanding]:
    """Time every winner in turns, before and after each of which the bandwidth is measured.

    Rounds wait for a machine that is as fast as it usually was in this run (``measure.steady_*``).
    """
    standings = []
    watched = watching(target, measure.steady_wait_s, measure.steady_share)
    with BandwidthMeter(target) as meter, watched as watch, progress("timing") as tick:
        for number, (name, operator) in enumerate(workloads.items(), start=1):
            standings.append(_standing(name, operator, winners[name], target, seed, meter, watch))
            tick(number, len(workloads), name)
    return standings


def memory_metrics(standings: Sequence[MemoryStanding]) -> dict[str, float | int | str]:
    """By workload, and over all: the least share of a copy of large ones, the least lead of small ones."""
    values: dict[str, float | int | str] = {}
    for each in standings:
        values |= {f"{each.name}_{key}": value for key, value in each.metrics.items()}
    shares = {each.name: each.share_of_copy.value for each in standings if each.is_large}
    leads = {e.name: e.metrics["vs_torch"] for e in standings if not e.is_large and "vs_torch" in e.metrics}
    ratios = [each.metrics["vs_best"] for each in standings if "vs_best" in each.metrics]
    if shares:
        worst = min(shares, key=lambda name: shares[name])
        values |= {"worst_share_of_copy": shares[worst], "worst_share_name": worst}
    if leads:
        worst = min(leads, key=lambda name: leads[name])
        values |= {"worst_small_vs_torch": leads[worst], "worst_small_name": worst}
    if ratios:
        values["geomean_vs_best"] = math.exp(sum(map(math.log, ratios)) / len(ratios))
    return values


def memory_table(standings: Sequence[MemoryStanding]) -> tuple[list[str], list[tuple[str, ...]]]:
    """Columns and rows of text."""
    columns = ["workload", "ours, us", "torch, us", "onnxruntime, us", "best / ours", "GB/s"]
    columns += ["share of copy", "share of bandwidth", "sketch", "correct"]
    rows = []
    for each in standings:
        found = each.metrics
        shares = [_with_range(found, f"share_of_{kind}") for kind in ("copy", "bandwidth")]
        others = (each.times_s.get(who) for who in ("torch", "onnxruntime"))
        times = [f"{1e6 * s:.1f}" if s else "" for s in (each.times_s[OURS], *others)]
        ratio = f"{found['vs_best']:.2f}" if "vs_best" in found else ""
        row = (each.name, *times, ratio, f"{found['gb_per_s']:.1f}", *shares, each.sketch)
        rows.append((*row, str(each.is_correct)))
    return columns, rows


def write_table(folder: Path, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table as ``memory.csv`` and, for a page, as ``memory.md``."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([columns, *rows])
    write_text(folder / "memory.csv", text.getvalue())
    lines = markdown_table(columns, 1, rows, words=(columns.index("sketch"), columns.index("correct")))
    write_text(folder / "memory.md", "\n".join(lines) + "\n")


def _with_range(found: Mapping[str, float | int], name: str) -> str:
    return f"{found[name]:.2f} ({found[f'{name}_low']:.2f} to {found[f'{name}_high']:.2f})"


def _standing(
    name: str,
    operator: Operator,
    winner: StoredWinner,
    target: Target,
    seed: int,
    meter: BandwidthMeter,
    watch: Watch | None,
) -> MemoryStanding:
    space = build_space(operator.program(), target)
    kernel = compile_program(space.lower_named(winner.candidate), target)
    program = operator.program()
    num_read = sum(tensor.num_bytes for tensor in program.inputs)
    mover = meter.mover(num_read, program.output.num_bytes)
    turns: list[Mapping[str, PeerTimes]] = []
    shares = []
    before = _settled(meter)
    for _ in range(NUM_TURNS):
        binders = {OURS: kernel_binder(kernel)}
        turns.append(
            time_peers(
                operator,
                binders,
                target.num_threads,
                ROUNDS_OF_A_TURN,
                seed=seed,
                beside=[mover],
                watch=watch,
            )
        )
        after = _settled(meter)
        least_s = [rates.least_s(num_read, program.output.num_bytes) for rates in (before, after)]
        shares.append(sum(least_s) / 2 / turns[-1][OURS].summary.median_s)
        before = after
    if text := unsteady_text(*turns):
        say(f"{name}: {text}")
    times_s = {who: [s for turn in turns for s in turn[who].times_s] for who in turns[0]}
    return MemoryStanding(
        name=name,
        num_bytes=num_read + program.output.num_bytes,
        sketch=str(winner.candidate["sketch"]),
        times_s={who: float(np.median(all_s)) for who, all_s in times_s.items()},
        share_of_copy=ratio_to_best(times_s[OURS], {"copy": mover.times_s}),
        shares_of_bandwidth=tuple(shares),
        is_correct=all(turn[OURS].is_correct for turn in turns),
    )


def _settled(meter: BandwidthMeter) -> Rates:
    settle()
    return meter.memory()
