"""Rounds in which each contestant takes a turn, so that what slows the machine slows all of them alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Protocol

from codegen.measure.steadiness import Watch

SETTLE_STEP_S = 0.005
MAX_SETTLE_S = 0.5
"""Threads wait for more work by spinning, those of OpenMP for milliseconds after a kernel, of onnxruntime and
TVM for longer. Whoever came next would find a core taken."""

MAX_ATTEMPTS = 3
"""How often a round is done until the machine stays steady meanwhile."""


class Contestant(Protocol):
    """Each turn adds one number to its times."""

    times_s: list[float]

    def take_turn(self) -> None: ...


def take_rounds(
    contestants: Sequence[Contestant],
    num_rounds: int,
    watch: Watch | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> int:
    """Let all take turns, every other round in reverse; in how many of the rounds the machine was unsteady.

    With a watch each round waits for a steady machine. One that was disturbed all the same is done again in
    the same order, twice at most and within what the watch affords, and the times of the steadiest attempt
    stay. That is fair: attempts are kept and dropped for all contestants together, and by what the watch
    reads before and after them alone, never by who was fast in them.
    """
    num_unsteady = 0
    for number in range(num_rounds):
        order = contestants if number % 2 == 0 else contestants[::-1]
        attempts: list[float] = []
        while True:
            unsteadiness, spent_s = _take_round(order, watch, clock)
            attempts.append(unsteadiness)
            is_last = unsteadiness <= 1 or len(attempts) == MAX_ATTEMPTS
            if watch is None or is_last or not watch.affords(spent_s):
                break
            watch.charge(spent_s)
        for contestant in contestants:
            times_s = contestant.times_s[-len(attempts) :]
            contestant.times_s[-len(attempts) :] = [times_s[attempts.index(min(attempts))]]
        num_unsteady += min(attempts) > 1
    return num_unsteady


def settle() -> None:
    """Wait until no thread of this process spins, but no longer than half a second.

    The operating system counts processor time in ticks of up to 4 ms, so a step is longer than one.
    """
    end_s = time.perf_counter() + MAX_SETTLE_S
    while time.perf_counter() < end_s:
        before_s = time.process_time()
        time.sleep(SETTLE_STEP_S)
        if time.process_time() - before_s < SETTLE_STEP_S / 5:
            return


def _take_round(
    order: Sequence[Contestant], watch: Watch | None, clock: Callable[[], float]
) -> tuple[float, float]:
    """How unsteady the machine was around the round, and the seconds of its turns."""
    unsteadiness = 0.0
    if watch is not None:
        settle()  # a thread that spins looks like a slow machine
        unsteadiness = watch.wait()
    start_s = clock()
    for contestant in order:
        settle()
        contestant.take_turn()
    spent_s = clock() - start_s
    if watch is not None:
        settle()
        unsteadiness = max(unsteadiness, watch.look())
    return unsteadiness, spent_s
