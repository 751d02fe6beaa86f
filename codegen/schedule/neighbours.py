"""What lies around a single candidate: slower than moves of a whole batch, and sure to find what there is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codegen.schedule.candidates import Candidates
from codegen.schedule.group_table import GroupTable
from codegen.schedule.idle import IdleCores


@dataclass(frozen=True)
class Neighbours:
    """Points of a candidate's sketch that differ from it in one group of knobs."""

    table: GroupTable
    idle_cores: IdleCores

    def worthwhile(self, alone: Candidates) -> Candidates:
        """Those of one candidate that are not hopeless."""
        around = self._around(int(alone.sketches[0]), alone.positions[0])
        return around[~self.idle_cores(around.sketches, around.positions)]

    def mended(self, alone: Candidates, near: NDArray[Any]) -> NDArray[np.int64]:
        """Positions for one hopeless candidate that are not hopeless, and as near as one more change allows.

        Where one change is not enough, the one that shares the work most comes first.
        """
        while not len(good := self.worthwhile(alone)):
            around = self._around(int(alone.sketches[0]), alone.positions[0])
            finest = self.idle_cores.finest(around.sketches, around.positions)
            alone = around[finest : finest + 1]
        nearest: NDArray[np.int64] = good.positions[np.abs(good.positions - near).sum(axis=1).argmin()]
        return nearest

    def _around(self, number: int, position: NDArray[np.int64]) -> Candidates:
        positions = self.table.neighbours(number, position)
        return Candidates(np.full(len(positions), number, dtype=np.int64), positions)
