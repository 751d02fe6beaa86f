"""Whether the machine is as fast as it usually is, and waiting until it is again.

On a machine shared with others, a trial may meet a core whose other half a neighbour keeps busy, or two
cores that the host has moved to where they share no cache. Such states last from a tenth of a second to
several seconds. Each kernel is slowed by its own factor, up to two, and the repeats of a trial agree, so that
their interval says nothing of it. Two short probes tell: sweeps over a first-level cache, which both halves
of a core share, and how soon a core sees what the other one has written.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from codegen.measure.arrays import touched_zeros
from codegen.measure.exchange import ExchangeMeter
from codegen.measure.peak_loops import NativeLoops, PinnedTeam
from codegen.target import Target

Reading: TypeAlias = NDArray[np.float64]
"""Seconds of a sweep on the slowest core and of an exchange, shape (2,); 0 stands for no second core."""

NUM_RUNS = 4
SWEPT_BYTES = 8 * 2**20
UNSEEN_S = 1e-4
"""Stands for the exchange of cores of which one is so busy that no run succeeds."""

LIMITS = (1.25, 1.8)
"""How many times as long as usual each probe may take: well below the 1.6 to 2 and the 3 to 4 of the slow
states, well above the probes' own scatter."""

NUM_REMEMBERED = 200
USUAL_QUANTILE = 0.2
"""Of the remembered readings. A machine that stays slow is the usual one after 160 trials."""

PAUSE_S = 0.02
FREE_WAIT_S = 2.0
"""Of waiting, besides the share of the time of a process."""


class SteadinessProbe:
    """Reads the state of the cores that a target's threads use, in about half a millisecond."""

    def __init__(self, target: Target, loops: NativeLoops, team: PinnedTeam) -> None:
        self._loops = loops
        self._team = team
        self._arrays = [touched_zeros((target.l1_bytes // 128 * 16,)) for _ in range(len(team))]
        self._vector_bytes = 4 * target.vector_lanes
        self._num_sweeps = SWEPT_BYTES // max(1, self._arrays[0].nbytes)
        self._meter = ExchangeMeter(target) if len(team) > 1 else None

    def read(self) -> Reading:
        """What the probes take now: each core's best of a few runs, as one interruption is no state."""
        if self._meter is None:
            return np.array([min(self._alone() for _ in range(NUM_RUNS)), 0.0])
        sweeps_s = [self._team.run(self._sweep) for _ in range(NUM_RUNS)]
        exchanges_s = [self._meter.run_s(self._team) for _ in range(NUM_RUNS)]
        exchange_s = min((run_s for run_s in exchanges_s if run_s is not None), default=UNSEEN_S)
        return np.array([np.min(sweeps_s, axis=0).max(), exchange_s])

    def _alone(self) -> float:
        """On the caller's thread: a kernel of one thread will run on its core, wherever that is."""
        start_s = time.perf_counter()
        self._sweep(0)
        return time.perf_counter() - start_s

    def _sweep(self, number: int) -> None:
        array = self._arrays[number]
        address = array.ctypes.data
        for _ in range(self._num_sweeps):
            self._loops.triad(address, address, address, array.nbytes // self._vector_bytes)


class Watch:
    """Compares readings with what was usual so far, and waits, within limits, for usual ones.

    Unsteadiness is the greatest ratio of a probe's time to its limit: at most 1 where the machine is steady.

    Args:
        read: see ``SteadinessProbe.read``.
        max_wait_s: a single wait takes no longer.
        max_share: what waiting may add to the time since the start, besides ``FREE_WAIT_S``.
        clock, pause: seconds now, and letting some pass; tests bring their own.
    """

    def __init__(
        self,
        read: Callable[[], Reading],
        max_wait_s: float,
        max_share: float,
        clock: Callable[[], float] = time.perf_counter,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._read = read
        self._max_wait_s = max_wait_s
        self._max_share = max_share
        self._clock = clock
        self._pause = pause
        self._start_s = clock()
        self._waited_s = 0.0
        self._remembered: deque[Reading] = deque(maxlen=NUM_REMEMBERED)

    @property
    def is_patient(self) -> bool:
        """Whether anything is left of the time that may be spent for a steady machine."""
        return self._allowance_s(self._clock()) > 0

    def charge(self, spent_s: float) -> None:
        """Count time that was spent on making up for an unsteady machine as if it had been waited."""
        self._waited_s += spent_s

    def unsteadiness(self) -> float:
        """Of this moment; a second look decides, as threads of the last kernel may still have been about."""
        unsteadiness = self._compare(self._read())
        if unsteadiness > 1:
            self._pause(PAUSE_S)
            unsteadiness = min(unsteadiness, self._compare(self._read()))
        return unsteadiness

    def wait(self) -> float:
        """Return when the machine is steady, or when waiting any longer would cost too much; what it is then.

        One reading is remembered for each call, however long the wait: usual is what trials find.
        """
        reading = self._read()
        self._remembered.append(reading)
        unsteadiness = self._compare(reading)
        start_s = self._clock()
        limit_s = min(self._max_wait_s, self._allowance_s(start_s))
        while unsteadiness > 1 and self._clock() - start_s < limit_s:
            self._pause(PAUSE_S)
            unsteadiness = self._compare(self._read())
        self._waited_s += self._clock() - start_s
        return unsteadiness

    def _allowance_s(self, now_s: float) -> float:
        worked_s = now_s - self._start_s - self._waited_s
        return FREE_WAIT_S + self._max_share * worked_s - self._waited_s

    def _compare(self, reading: Reading) -> float:
        usual = np.quantile([*self._remembered, reading], USUAL_QUANTILE, axis=0)
        is_read = usual > 0
        return float(np.max(reading[is_read] / (usual[is_read] * np.array(LIMITS)[is_read]), initial=0.0))
