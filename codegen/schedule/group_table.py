"""All knob groups of all sketches in flat arrays, so that moves need no loop over candidates."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from codegen.schedule.sketch import KnobGroup, Sketch

IntArray = NDArray[np.int64]

_NUM_TRIES = 3
"""Rows drawn per mutation; the one nearest to the present row is taken, so most moves are local."""

_MOST_DISTANCES = 1_000_000
"""Held at once when the nearest row is looked for."""


class GroupTable:
    """Rows of allowed value positions, addressed by (sketch, group).

    Column ``num_columns`` is a dump for groups narrower than the widest one.
    """

    def __init__(self, sketches: tuple[Sketch, ...]) -> None:
        self.num_columns = max(len(sketch.knobs) for sketch in sketches)
        most_groups = max(len(sketch.groups) for sketch in sketches)
        width = max(group.rows.shape[1] for sketch in sketches for group in sketch.groups)
        shape = (len(sketches), most_groups)
        self._num_groups = np.array([len(sketch.groups) for sketch in sketches])
        self._offset = np.zeros(shape, dtype=np.int64)
        self._size = np.ones(shape, dtype=np.int64)
        self._columns = np.full((*shape, width), self.num_columns, dtype=np.int64)
        self._same = np.full((len(sketches), *shape), -1, dtype=np.int64)
        rows: list[IntArray] = []
        total = 0
        for s, sketch in enumerate(sketches):
            column = 0
            for g, group in enumerate(sketch.groups):
                num, used = group.rows.shape
                self._offset[s, g], self._size[s, g] = total, num
                self._columns[s, g, :used] = np.arange(column, column + used)
                rows.append(np.pad(group.rows, ((0, 0), (0, width - used))))
                total, column = total + num, column + used
        self._rows = np.concatenate(rows)
        self._sets = [[{tuple(row) for row in g.rows.tolist()} for g in s.groups] for s in sketches]
        self._link(sketches)

    def sample(self, sketches: IntArray, rng: np.random.Generator) -> IntArray:
        """Uniform positions for given sketches, shape (N, num_columns)."""
        num_rows, num_groups = len(sketches), self._size.shape[1]
        draws = rng.random((num_rows, num_groups))
        chosen = self._offset[sketches] + (draws * self._size[sketches]).astype(np.int64)
        positions = np.zeros((num_rows, self.num_columns + 1), dtype=np.int64)
        width = num_groups * self._columns.shape[2]  # said outright: -1 has no meaning for no rows
        columns = self._columns[sketches].reshape(num_rows, width)
        values = self._rows[chosen].reshape(num_rows, width)
        np.put_along_axis(positions, columns, values, axis=1)
        return positions[:, :-1]

    def mutate(self, sketches: IntArray, positions: IntArray, rng: np.random.Generator) -> IntArray:
        """Draw one group of each row anew, from a few tries the nearest that differs."""
        num = len(sketches)
        groups = (rng.random(num) * self._num_groups[sketches]).astype(np.int64)
        offset, size = self._offset[sketches, groups], self._size[sketches, groups]
        draws = (rng.random((num, _NUM_TRIES)) * size[:, None]).astype(np.int64)
        tries = self._rows[offset[:, None] + draws]
        padded = np.pad(positions, ((0, 0), (0, 1)))
        columns = self._columns[sketches, groups]
        present = np.take_along_axis(padded, columns, axis=1)
        distance = np.abs(tries - present[:, None, :]).sum(axis=2)
        distance[distance == 0] = np.iinfo(np.int64).max
        nearest = tries[np.arange(num), distance.argmin(axis=1)]
        np.put_along_axis(padded, columns, nearest, axis=1)
        return padded[:, :-1]

    def neighbours(self, sketch: int, position: IntArray) -> IntArray:
        """Every point that differs from the given one, of shape (num_columns,), in one group alone."""
        parts = []
        for group in range(self._num_groups[sketch]):
            columns = self._columns[sketch, group]
            columns = columns[columns < self.num_columns]
            first = self._offset[sketch, group]
            rows = self._rows[first : first + self._size[sketch, group], : len(columns)]
            rows = rows[(rows != position[columns]).any(axis=1)]
            part = np.repeat(position[None], len(rows), axis=0)
            part[:, columns] = rows
            parts.append(part)
        return np.concatenate(parts)

    def nearest(self, sketches: IntArray, positions: NDArray[np.floating[Any]]) -> IntArray:
        """Of every group the allowed row that differs least in sum from the given positions."""
        result = np.zeros(positions.shape, dtype=np.int64)
        for sketch in np.unique(sketches).tolist():
            rows = np.flatnonzero(sketches == sketch)
            for group in range(self._num_groups[sketch]):
                columns = self._columns[sketch, group]
                columns = columns[columns < self.num_columns]
                first = self._offset[sketch, group]
                allowed = self._rows[first : first + self._size[sketch, group], : len(columns)]
                step = max(_MOST_DISTANCES // allowed.size, 1)
                for start in range(0, len(rows), step):
                    part = rows[start : start + step, None]
                    distance = np.abs(positions[part, columns][:, None, :] - allowed).sum(axis=2)
                    result[part, columns] = allowed[distance.argmin(axis=1)]
        return result

    def convert(
        self, sketches: IntArray, new: IntArray, positions: IntArray, rng: np.random.Generator
    ) -> IntArray:
        """Positions for the new sketches: groups that both have are kept, the others drawn."""
        result = np.pad(self.sample(new, rng), ((0, 0), (0, 1)))
        padded = np.pad(positions, ((0, 0), (0, 1)))
        same = self._same[sketches, new]
        kept = self._columns[sketches[:, None], np.maximum(same, 0)]
        values = np.take_along_axis(padded, kept.reshape(len(new), -1), axis=1).reshape(kept.shape)
        columns = np.where(same[:, :, None] >= 0, self._columns[new], self.num_columns)
        np.put_along_axis(result, columns.reshape(len(new), -1), values.reshape(len(new), -1), axis=1)
        return result[:, :-1]

    def num_shared(self, sketches: IntArray) -> IntArray:
        """How many groups each given sketch has in common with every sketch, shape (N, sketches)."""
        shared: IntArray = (self._same[sketches] >= 0).sum(axis=2)
        return shared

    def contains(self, sketch: int, columns: list[int]) -> bool:
        """Whether every group of the row is an allowed combination."""
        start = 0
        for allowed in self._sets[sketch]:
            width = len(next(iter(allowed)))
            if tuple(columns[start : start + width]) not in allowed:
                return False
            start += width
        return True

    def _link(self, sketches: tuple[Sketch, ...]) -> None:
        for old, first in enumerate(sketches):
            for new, second in enumerate(sketches):
                for g, group in enumerate(second.groups):
                    for h, other in enumerate(first.groups):
                        if _are_same(group, other):
                            self._same[old, new, g] = h


def _are_same(left: KnobGroup, right: KnobGroup) -> bool:
    return left.knobs == right.knobs and np.array_equal(left.rows, right.rows)
