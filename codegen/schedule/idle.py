"""Which candidates leave at least half of the cores without work, for many at once."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from codegen.schedule.sketch import Sketch

IntArray = NDArray[np.int64]


LEAST_FLOPS_PER_CORE = 125_000
"""Of a program that a core is missed in: half of the least published task's that two cores shared."""


class IdleCores:
    """Finds candidates that share their work among at most half of the cores that could have some.

    Their equals on all cores may be twice as fast; that none of those measured comes near the best of its
    task is tested on ``datasets/published`` (``tests/datasets/test_hopeless.py``). A sketch that does not say
    how its work is shared, or whose finest tiles still leave half of the cores idle, has none.

    Args:
        sketches: those of a space.
        num_cores: of the target.
        flops: of the program.
    """

    def __init__(self, sketches: tuple[Sketch, ...], num_cores: int, flops: int) -> None:
        self._most = min(num_cores, flops // LEAST_FLOPS_PER_CORE) // 2
        self._is_judged = np.array([_finest(sketch) > self._most for sketch in sketches])
        num_axes = max(len(sketch.tilings) for sketch in sketches)
        self._width = max([1, *(len(tiling.knobs) for sketch in sketches for tiling in sketch.tilings)])
        self._extents = np.ones((len(sketches), num_axes), dtype=np.int64)
        # A place for each knob of each tiling: its column, and where its values start in an array of all.
        self._columns = np.zeros((len(sketches), num_axes * self._width), dtype=np.int64)
        self._starts = np.zeros((len(sketches), num_axes * self._width), dtype=np.int64)
        longest = max((len(knob.values) for sketch in sketches for knob in sketch.knobs), default=1)
        values = [np.ones(longest, dtype=np.int64)]  # of places without a knob, whatever column 0 holds
        for number, sketch in enumerate(sketches):
            columns = {knob.name: column for column, knob in enumerate(sketch.knobs)}
            for axis, tiling in enumerate(sketch.tilings):
                self._extents[number, axis] = tiling.extent
                for place, name in enumerate(tiling.knobs, start=axis * self._width):
                    self._columns[number, place] = columns[name]
                    self._starts[number, place] = longest * len(values)
                    values.append(np.resize(sketch.knobs[columns[name]].values, longest))
        self._values = np.concatenate(values)

    def __call__(self, sketches: IntArray, positions: IntArray) -> NDArray[np.bool_]:
        """Shape (N,); positions as in ``Candidates``."""
        if not self._is_judged.any():
            return np.zeros(len(sketches), dtype=np.bool_)
        shares, _ = self._shares(sketches, positions)
        return np.asarray((shares <= self._most) & self._is_judged[sketches])

    def finest(self, sketches: IntArray, positions: IntArray) -> int:
        """The row whose work is in most shares; of several, the one of the least tiles."""
        shares, sizes = self._shares(sketches, positions)
        return int(np.lexsort((sizes, -shares))[0])

    def _shares(self, sketches: IntArray, positions: IntArray) -> tuple[IntArray, NDArray[np.float64]]:
        """Parallel iterations, and the size of a tile with what is beyond an axis; each of shape (N,)."""
        places = self._columns[sketches] + np.arange(0, positions.size, positions.shape[1])[:, None]
        values = self._values.take(self._starts[sketches] + positions.take(places))
        tiles = values[:, :: self._width]
        for knob in range(1, self._width):
            tiles = tiles * values[:, knob :: self._width]
        shares = np.multiply.reduce(-(-self._extents[sketches] // tiles), axis=1)
        return shares, np.multiply.reduce(tiles, axis=1, dtype=np.float64)


def _finest(sketch: Sketch) -> int:
    """Parallel iterations of the candidate with the least of every knob; 0 where nothing is known of them."""
    if not sketch.tilings or any(group.rows[0].any() for group in sketch.groups):
        return 0
    least = {knob.name: knob.values[0] for knob in sketch.knobs}
    return math.prod(
        -(-tiling.extent // math.prod(least[name] for name in tiling.knobs)) for tiling in sketch.tilings
    )
