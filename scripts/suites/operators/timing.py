"""Stored winners compiled, checked and timed beside libraries, all in one run."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from codegen.llvm.build import compile_program
from codegen.llvm.kernel import Kernel
from codegen.measure.bandwidth import BandwidthMeter
from codegen.measure.peak import measure_peak
from codegen.measure.peers import Binder, PeerTimes
from codegen.measure.rounds import settle
from codegen.measure.steadiness import Watch
from codegen.ops import Conv2d, Matmul, Operator
from codegen.schedule import build_space
from codegen.target import Target
from scripts.running.display import progress, say
from scripts.suites.operators.standings import OURS, Ceilings, Standing, best_ceilings, make_standing
from scripts.tuning.stored_winners import StoredWinner
from scripts.tuning.winner import compare, unsteady_text

NARROW = 0.1
"""Widest interval of a median, as a share of it, that needs no second turn.

Others may hold a core for seconds. The choice looks at widths alone, never at who is faster."""

NUM_RETRIES = 2

SMALLEST = (Conv2d(height=1, width=1, in_channels=1, out_channels=1, kernel=1), Matmul(m=1, k=1, n=1))
"""One multiplication each: what is timed is the call."""


def time_winners(
    workloads: Mapping[str, Operator],
    winners: Mapping[str, StoredWinner],
    target: Target,
    seed: int,
    code_version: str,
    others: Callable[[str], Mapping[str, Binder]],
    watch: Watch | None,
) -> list[Standing]:
    """A row per workload, in order; one whose schedule no longer exists is named and left out.

    ``others`` gives further contestants of a workload; ``watch`` learns from one comparison for the next.

    The ceilings are measured around each comparison and the best of all is used: a core that others
    use, or that runs hot, loses speed for seconds, and a ceiling from another minute may lie below a kernel.
    """
    compared: dict[str, Mapping[str, PeerTimes]] = {}
    with BandwidthMeter(target) as meter, progress("timing") as tick:
        ceilings = [measure_ceilings(target, meter)]

        def time_one(name: str) -> Mapping[str, PeerTimes] | None:
            times = _compare(workloads[name], winners[name], target, seed, others(name), watch)
            ceilings.append(measure_ceilings(target, meter))
            return times

        for number, name in enumerate(winners, start=1):
            times = time_one(name)
            if times is None:
                say(f"{name}: the stored schedule is no longer one of its space; tune it again")
            else:
                compared[name] = times
            tick(number, len(winners), name)
        _time_disturbed_again(compared, time_one)
    for name, times in compared.items():
        if text := unsteady_text(times):
            say(f"{name}: {text}")
    best = best_ceilings(ceilings)
    return [
        make_standing(
            name,
            workloads[name],
            times,
            best,
            str(winners[name].candidate["sketch"]),
            winners[name].trials,
            code_version,
        )
        for name, times in compared.items()
    ]


def _time_disturbed_again(
    compared: dict[str, Mapping[str, PeerTimes]], time_one: Callable[[str], Mapping[str, PeerTimes] | None]
) -> None:
    """Give workloads that were disturbed another turn, and keep the turn of narrower intervals."""
    for _ in range(NUM_RETRIES):
        for name in [name for name, times in compared.items() if relative_width(times) > NARROW]:
            say(f"{name} was disturbed; timing it again")
            again = time_one(name)
            if again is not None and relative_width(again) < relative_width(compared[name]):
                compared[name] = again


def relative_width(times: Mapping[str, PeerTimes]) -> float:
    """Width of the widest interval among ours and the fastest other one, as a share of its median."""
    fastest = min(
        (each for name, each in times.items() if name != OURS),
        key=lambda each: each.summary.median_s,
        default=times[OURS],
    )
    return max(
        (each.summary.high_s - each.summary.low_s) / each.summary.median_s for each in (times[OURS], fastest)
    )


def measure_ceilings(target: Target, meter: BandwidthMeter) -> Ceilings:
    """FMA rate and memory bandwidth (of reading or copying, whichever is higher) of all threads."""
    settle()
    rates = meter.memory()
    bandwidth = max(rates.read, rates.copy, rates.stream)
    return Ceilings(measure_peak(target).gflops_all, bandwidth / 1e9)


def call_times(target: Target, seed: int) -> dict[str, float]:
    """Seconds that a call of ours and of each library takes from Python when there is nothing to compute."""
    values: dict[str, float] = {}
    for operator in SMALLEST:
        space = build_space(operator.program(), target)
        candidates = space.sample(1, np.random.default_rng(seed))
        times = compare(operator, compile_program(space.lower(candidates, 0), target), seed)
        for who, each in times.items():
            values.setdefault(who, each.summary.median_s)
    return values


def compile_winner(operator: Operator, winner: StoredWinner, target: Target) -> Kernel | None:
    """The kernel of a stored winner; None if that is of another workload or no longer in its space."""
    space = build_space(operator.program(), target)
    if not (winner.is_of(operator) and winner.is_in(space)):
        return None
    return compile_program(space.lower_named(winner.candidate), target)


def _compare(
    operator: Operator,
    winner: StoredWinner,
    target: Target,
    seed: int,
    others: Mapping[str, Binder],
    watch: Watch | None,
) -> Mapping[str, PeerTimes] | None:
    kernel = compile_winner(operator, winner, target)
    if kernel is None:
        return None
    errors = build_space(operator.program(), target).errors(winner.candidate)
    return compare(operator, kernel, seed, others, errors, watch)
