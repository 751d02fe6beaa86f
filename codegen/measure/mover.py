"""The bytes of a kernel moved without its arithmetic: what its own time is compared with, round by round."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

from codegen.measure.arrays import touched_zeros
from codegen.measure.bandwidth_loops import GRAIN, BandwidthLoops
from codegen.measure.peak_loops import PinnedTeam

Copy: TypeAlias = Callable[[int, int, int, int], None]

MIN_TURN_S = 0.005
"""What a turn's passes last at least, as those of the kernels beside it."""


class Mover:
    """Copies as much as a kernel writes and reads what the kernel reads besides, on pinned threads.

    ``times_s`` grows by one number in each turn: seconds of a pass over all bytes by plain stores or past the
    caches, whichever was faster in this turn. Threads' own rates are summed, as ``BandwidthMeter`` does. A
    kernel that writes more than it reads is compared with a copy of what it writes.
    """

    def __init__(
        self, loops: BandwidthLoops, team: PinnedTeam, vector_bytes: int, num_read: int, num_written: int
    ) -> None:
        self._loops, self._team = loops, team
        self._num_bytes = max(num_read, num_written) + num_written
        grain_bytes = vector_bytes * GRAIN * len(team)
        self._num_copied = max(round(num_written / grain_bytes), 1) * GRAIN
        self._num_read = max(round((num_read - num_written) / grain_bytes), 0) * GRAIN
        shapes = [(num * vector_bytes // 4,) for num in (self._num_copied + self._num_read, self._num_copied)]
        self.arrays = [[touched_zeros(shape) for shape in shapes] for _ in range(len(team))]
        self._addresses = [[array.ctypes.data for array in pair] for pair in self.arrays]
        self._rest_bytes = self._num_copied * vector_bytes
        self._moved_bytes = (2 * self._num_copied + self._num_read) * vector_bytes
        self._num_passes = 1
        self._num_passes = math.ceil(MIN_TURN_S / self._pass_s(loops.stream))
        self.times_s: list[float] = []

    def take_turn(self) -> None:
        """Time some passes of each kind of store."""
        self.times_s.append(min(self._pass_s(copy) for copy in (self._loops.stream, self._loops.copy)))

    def _pass_s(self, copy: Copy) -> float:
        num_passes = self._num_passes

        def move(number: int) -> None:
            x, y = self._addresses[number]
            copy(y, x, self._num_copied, num_passes)
            if self._num_read:
                self._loops.read(x + self._rest_bytes, self._num_read, num_passes)

        rate = sum(self._moved_bytes * num_passes / seconds for seconds in self._team.run(move))
        return self._num_bytes / rate
