"""Whether the machine is as fast as it usually is, and waiting until it is again.

On a machine shared with others, a trial may meet a core whose other half a neighbour keeps busy, or two
cores that the host has moved to where they share no cache. Each kernel is slowed by its own factor, up to
two, and the repeats of a trial agree, so that their interval says nothing of it. Two short probes tell:
sweeps over a first-level cache, which both halves of a core share, and how soon a core sees what the other
one has written.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from codegen.measure.arrays import touched_zeros
from codegen.measure.exchange import ExchangeMeter
from codegen.measure.peak_loops import NativeLoops, PinnedTeam
from codegen.target import Target

Reading: TypeAlias = NDArray[np.float64]
"""Seconds of the sweeps on the slowest core and of an exchange, shape (2,); 0 stands for no second core."""

NUM_LOOKS = 2
"""Runs of each probe in a reading; the better counts, as one interruption is no state."""

SWEPT_BYTES = 8 * 2**20
"""By all sweeps of a run together, which take less than a tenth of a millisecond."""

UNSEEN_S = 1e-4
"""Stands for the exchange of cores of which one is so busy that no run succeeds."""

LIMITS = np.array([1.25, 1.8])
"""How many times as long as usual each probe may take: between its scatter and the slow states seen."""

NUM_REMEMBERED = 200
USUAL_QUANTILE = 0.2
"""Of the remembered readings. A machine that stays slow is the usual one after 160 trials."""

NUM_UNJUDGED = 5
"""Readings before which nobody knows what is usual."""

PAUSE_S = 0.02
FREE_WAIT_S = 0.5
"""Of waiting, besides the share of the time of a process."""


class SteadinessProbe:
    """Reads the state of the cores that a target's threads use; of the exchange, that of the first two.

    A reading takes about a millisecond, and several while threads of the last kernel still spin.
    """

    def __init__(self, target: Target, loops: NativeLoops, team: PinnedTeam) -> None:
        self._loops = loops
        self._team = team
        self._arrays = [touched_zeros((target.l1_bytes // 128 * 16,)) for _ in range(len(team))]
        self._num_vectors = self._arrays[0].nbytes // (4 * target.vector_lanes)
        self._num_sweeps = SWEPT_BYTES // max(1, self._arrays[0].nbytes)
        self._meter = ExchangeMeter(target) if len(team) > 1 else None

    def read(self) -> Reading:
        """What the probes take now."""
        if self._meter is None:
            return np.array([min(self._time_sweeps() for _ in range(NUM_LOOKS)), 0.0])
        sweeps_s = [self._team.run(self._sweep) for _ in range(NUM_LOOKS)]
        exchanges_s = [self._meter.run_s(self._team) for _ in range(NUM_LOOKS)]
        exchange_s = min((run_s for run_s in exchanges_s if run_s is not None), default=UNSEEN_S)
        return np.array([np.min(sweeps_s, axis=0).max(), exchange_s])

    def _time_sweeps(self) -> float:
        """On the caller's thread: a kernel of one thread will run on its core, wherever that is."""
        start_s = time.perf_counter()
        self._sweep(0)
        return time.perf_counter() - start_s

    def _sweep(self, number: int) -> None:
        self._loops.sweep(self._arrays[number].ctypes.data, self._num_vectors, self._num_sweeps)


class Watch:
    """Compares readings with what was usual so far, and waits, within limits, for usual ones.

    Unsteadiness is the greatest ratio of a probe's time to its limit: at most 1 where the machine is as fast
    as usual, 0 as long as nobody knows what is usual. It is relative to what this process has seen, and to
    what others of the same machine and target have, as far as it was told.

    Args:
        read: see ``SteadinessProbe.read``.
        max_wait_s: a single wait takes no longer.
        max_share: about what waiting may add to the time since the start, besides ``FREE_WAIT_S``.
        remembered: what another process saw, the oldest first.
        worked_s: time before the start of which waiting may be a share as well.
        clock, pause: seconds now, and letting some pass; tests bring their own.
    """

    def __init__(
        self,
        read: Callable[[], Reading],
        max_wait_s: float,
        max_share: float,
        remembered: Sequence[Reading] = (),
        worked_s: float = 0.0,
        clock: Callable[[], float] = time.perf_counter,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._read = read
        self._max_wait_s = max_wait_s
        self._max_share = max_share
        self._clock = clock
        self._pause = pause
        self._start_s = clock() - worked_s
        self._waited_s = 0.0
        self._remembered: deque[Reading] = deque(remembered, maxlen=NUM_REMEMBERED)

    @property
    def remembered(self) -> list[Reading]:
        """What says what is usual, the oldest first."""
        return list(self._remembered)

    @property
    def usual(self) -> Reading | None:
        """What the probes usually take; None as long as nobody knows."""
        if len(self._remembered) < NUM_UNJUDGED:
            return None
        usual: Reading = np.quantile(self._remembered, USUAL_QUANTILE, axis=0)
        return usual

    def affords(self, seconds: float) -> bool:
        """Whether so much may still be spent for a steady machine."""
        now_s = self._clock()
        worked_s = now_s - self._start_s - self._waited_s
        return seconds < FREE_WAIT_S + self._max_share * worked_s - self._waited_s

    def charge(self, spent_s: float) -> None:
        """Count time that went into times which were thrown away as if it had been waited."""
        self._waited_s += spent_s

    def look(self) -> float:
        """Unsteadiness at this moment."""
        return self._compare(self._look_twice())

    def wait(self) -> float:
        """Return when the machine is steady, or when waiting any longer would cost too much; how it is then.

        One reading is remembered for each call, however long the wait: usual is what trials and rounds find.
        """
        reading = self._look_twice()
        self._remembered.append(reading)
        unsteadiness = self._compare(reading)
        start_s = now_s = self._clock()
        while unsteadiness > 1 and now_s - start_s < self._max_wait_s and self.affords(0.0):
            self._pause(PAUSE_S)
            unsteadiness = self._compare(self._read())
            before_s, now_s = now_s, self._clock()
            self.charge(now_s - before_s)
        return unsteadiness

    def _look_twice(self) -> Reading:
        """A second look decides: threads of the last kernel may still have been about at the first."""
        reading = self._read()
        if self._compare(reading) > 1:
            start_s = self._clock()
            self._pause(PAUSE_S)
            reading = np.minimum(reading, self._read())
            self.charge(self._clock() - start_s)
        return reading

    def _compare(self, reading: Reading) -> float:
        usual = self.usual
        if usual is None:
            return 0.0
        is_read = usual > 0
        return float(np.max(reading[is_read] / (usual[is_read] * LIMITS[is_read])))


@contextmanager
def watching(
    target: Target,
    max_wait_s: float,
    max_share: float,
    remembered: Sequence[Reading] = (),
    worked_s: float = 0.0,
) -> Iterator[Watch | None]:
    """A watch of this process over the cores of a target; None, and no look, where it may wait for 0 seconds.

    No thread but the probe's own is bound to a core, and those end with the context.
    """
    if max_wait_s == 0:
        yield None
        return
    with PinnedTeam(target.num_threads) as team:
        probe = SteadinessProbe(target, NativeLoops(target), team)
        yield Watch(probe.read, max_wait_s, max_share, remembered, worked_s)
