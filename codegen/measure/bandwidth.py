"""Bytes that all threads of a target move in a second, from memory and from its caches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from codegen.measure.arrays import touched_zeros
from codegen.measure.bandwidth_loops import GRAIN, BandwidthLoops
from codegen.measure.mover import Mover
from codegen.measure.peak_loops import PinnedTeam
from codegen.target import Target

Pair: TypeAlias = tuple[NDArray[np.float32], NDArray[np.float32]]

BEYOND_CACHES = 8
"""Arrays that stand for memory are so many times larger than the last cache: little survives a pass."""

MIN_MEMORY_BYTES = 2**27
MAX_MEMORY_BYTES = 2**30
"""Limits of those arrays, all threads together."""

WORK_BYTES = 2**27
"""What a thread moves at least in a timed run: some milliseconds."""


@dataclass(frozen=True)
class Rates:
    """Bytes per second of one level of memory.

    Bytes are *algorithmic*: each element read counts once, each element written once. The line that a
    plain store fetches before it fills it does not count, so ``copy`` of memory lies a third below what
    the memory bus carries, and ``stream`` (non-temporal stores) does not.
    """

    read: float
    copy: float
    stream: float

    def least_s(self, num_read: int, num_written: int) -> float:
        """Seconds below which no kernel gets that reads and writes so many bytes here, each once.

        What is read and written in equal parts moves at the rate of the better copy, the rest of the
        reads at the rate of reading. (Writes without reads count as a copy's: no kernel here has more.)
        """
        both = min(num_read, num_written)
        copied = 2 * both + (num_written - both)
        return copied / max(self.copy, self.stream) + (num_read - both) / self.read


@dataclass(frozen=True)
class Bandwidth:
    """Rates of data that lie in memory, in the last cache (all threads share it), in the second one."""

    memory: Rates
    l3: Rates
    l2: Rates


class BandwidthMeter:
    """Loops, arrays and pinned threads to measure a target's bandwidth with, again and again.

    The bandwidth of a machine that others share changes from minute to minute: what is compared with it
    has to be timed next to it. Use as a context manager; the arrays take up to 2 GiB.
    """

    def __init__(self, target: Target) -> None:
        self._loops = BandwidthLoops(target)
        self._team = PinnedTeam(target.num_threads)
        self._vector_bytes = 4 * target.vector_lanes
        beyond = min(max(BEYOND_CACHES * target.l3_bytes, MIN_MEMORY_BYTES), MAX_MEMORY_BYTES)
        threads = target.num_threads
        # A half of a cache leaves room for what else lies there, and for lines that map to the same place.
        self._memory = self._arrays(beyond // threads)
        self._l3 = self._arrays(target.l3_bytes // 2 // threads)
        self._l2 = self._arrays(target.l2_bytes // 2)

    def __enter__(self) -> BandwidthMeter:
        self._team.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._team.__exit__(kind, error, trace)

    def measure(self, num_runs: int = 5) -> Bandwidth:
        """The best of several short runs each, since other work can only make them slower.

        Takes some tenths of a second. As in ``measure_peak`` the threads' own rates are summed.
        """
        levels = (self._memory, self._l3, self._l2)
        return Bandwidth(*(self._rates(arrays, num_runs) for arrays in levels))

    def memory(self, num_runs: int = 2) -> Rates:
        """Of memory alone."""
        return self._rates(self._memory, num_runs)

    def mover(self, num_read: int, num_written: int) -> Mover:
        """What moves a kernel's bytes beside it, in turns."""
        return Mover(self._loops, self._team, self._vector_bytes, num_read, num_written)

    def _arrays(self, num_bytes: int) -> list[Pair]:
        """For each thread two arrays that have ``num_bytes`` together."""
        grain = self._vector_bytes * GRAIN
        shape = (max(num_bytes // 2 // grain, 1) * grain // 4,)
        return [(touched_zeros(shape), touched_zeros(shape)) for _ in range(len(self._team))]

    def _rates(self, arrays: list[Pair], num_runs: int) -> Rates:
        num_bytes = arrays[0][0].nbytes
        num_vectors = num_bytes // self._vector_bytes
        num_passes = max(1, -(-WORK_BYTES // (2 * num_bytes)))
        loops = self._loops

        def read(x: NDArray[np.float32], y: NDArray[np.float32]) -> None:
            for array in (x, y):
                loops.read(array.ctypes.data, num_vectors, num_passes)

        def copy(x: NDArray[np.float32], y: NDArray[np.float32]) -> None:
            loops.copy(y.ctypes.data, x.ctypes.data, num_vectors, num_passes)

        def stream(x: NDArray[np.float32], y: NDArray[np.float32]) -> None:
            loops.stream(y.ctypes.data, x.ctypes.data, num_vectors, num_passes)

        def rate(move: Callable[[NDArray[np.float32], NDArray[np.float32]], None]) -> float:
            moved = 2 * num_bytes * num_passes
            runs = (self._team.run(lambda number: move(*arrays[number])) for _ in range(num_runs))
            return max(sum(moved / seconds for seconds in run) for run in runs)

        return Rates(rate(read), rate(copy), rate(stream))


def measure_bandwidth(target: Target, num_runs: int = 5) -> Bandwidth:
    """Once; see ``BandwidthMeter.measure``. Takes about a second with the arrays."""
    with BandwidthMeter(target) as meter:
        return meter.measure(num_runs)
