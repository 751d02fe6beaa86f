"""A space that is a list of points: a recorded tuning space, or knobs whose constraints leave few enough."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from codegen.schedule.candidates import Candidates
from search.digests import row_digests

Value: TypeAlias = int | float | str | bool
IntArray: TypeAlias = NDArray[np.int64]

JUMP = 0.05
"""Share of moves that draw a point anew, so that no island of the space is out of reach."""

CHUNK = 4_000_000
"""Distances held at once when the nearest point is looked for."""


@dataclass(frozen=True)
class Knob:
    """What one choice may be. Positions of ``values`` next to each other are neighbours if it is ordered."""

    name: str
    values: tuple[Value, ...]
    is_ordered: bool = True

    def __post_init__(self) -> None:
        if not self.values:
            raise ValueError(f"knob {self.name} has no values")
        if len(set(self.values)) < len(self.values):
            raise ValueError(f"knob {self.name} has equal values: {self.values}")


class TableSpace:
    """Points in rows; all operations are batched, and a row number stands for a point where that is shorter.

    ``positions`` has shape (points, knobs), without repeated rows.
    """

    def __init__(self, knobs: Sequence[Knob], positions: IntArray) -> None:
        self.knobs = tuple(knobs)
        self.positions = np.ascontiguousarray(positions, dtype=np.int64)
        if not self.knobs or self.positions.ndim != 2 or self.positions.shape[1] != len(self.knobs):
            raise ValueError(f"{len(self.knobs)} knobs do not fit positions of shape {positions.shape}")
        if not len(self.positions):
            raise ValueError(f"no point of the knobs {self._names()} is allowed: the space is empty")
        sizes = self.num_values()[0]
        if (self.positions < 0).any() or (self.positions >= sizes).any():
            raise ValueError(f"positions must be in [0, number of values) of the knobs {self._names()}")
        digests = row_digests(self.positions)
        self._order = np.argsort(digests, kind="stable")
        self._digests = digests[self._order]
        if (self._digests[1:] == self._digests[:-1]).any():
            raise ValueError("the points of a space must differ, but some rows are equal")

    def __len__(self) -> int:
        return len(self.positions)

    def count(self) -> int:
        return len(self.positions)

    def num_values(self) -> IntArray:
        return np.array([[len(knob.values) for knob in self.knobs]], np.int64)

    def candidates(self, rows: NDArray[np.int64]) -> Candidates:
        """The points of the rows."""
        return Candidates(np.zeros(len(rows), np.int64), self.positions[rows])

    def rows(self, candidates: Candidates) -> IntArray:
        """Row numbers, shape (N,); ValueError for a candidate that is no point of this space."""
        if candidates.positions is self.positions:  # a whole space is often scored again and again
            return np.arange(len(self))
        rows = self._find(candidates.positions)
        if (rows < 0).any():
            row = int(np.flatnonzero(rows < 0)[0])
            raise ValueError(f"{candidates.positions[row].tolist()} is not a point of the space")
        return rows

    def sample(self, num: int, rng: np.random.Generator) -> Candidates:
        return self.candidates(rng.integers(len(self), size=num))

    def mutate(self, candidates: Candidates, rng: np.random.Generator) -> Candidates:
        """One knob changed: an ordered one to the next allowed value up or down, another to any.

        The knob is drawn from those that can change at that point. Now and then, and where none can, the
        point is drawn anew.
        """
        rows = self.rows(candidates)
        can_change = self._line_sizes[:, rows] > 1
        draws = rng.random(can_change.shape)
        knobs = np.argmax(draws * can_change, axis=0)
        size, place = self._line_sizes[knobs, rows], self._places[knobs, rows]
        up = rng.random(len(rows)) < 0.5
        up = np.where(place == 0, True, np.where(place == size - 1, False, up))
        step = np.where(up, 1, -1)
        anywhere = 1 + (rng.random(len(rows)) * (size - 1)).astype(np.int64)
        new_place = np.where(self._ordered[knobs], place + step, (place + anywhere) % size)
        moved = self._lines[knobs, self._starts[knobs, rows] + np.where(size > 1, new_place, 0)]
        jumps = ~can_change.any(axis=0) | (rng.random(len(rows)) < JUMP)
        return self.candidates(np.where(jumps, rng.integers(len(self), size=len(rows)), moved))

    def nearest(self, sketches: IntArray, positions: NDArray[np.floating[Any]]) -> Candidates:
        del sketches
        rows = self._find(np.rint(positions).astype(np.int64))
        lost = np.flatnonzero(rows < 0)
        step = max(CHUNK // self.positions.size, 1)
        for start in range(0, len(lost), step):
            part = lost[start : start + step]
            distance = np.zeros((len(part), len(self)))
            for column in range(len(self.knobs)):
                distance += np.abs(positions[part, column, None] - self.positions[:, column])
            rows[part] = distance.argmin(axis=1)
        return self.candidates(rows)

    def counterparts(self, candidates: Candidates, rng: np.random.Generator) -> Candidates:
        del rng
        return candidates[:1]

    def canonical(self, candidates: Candidates) -> Candidates:
        return candidates

    def enumerate(self, limit: int) -> Candidates:
        if limit >= len(self):
            return Candidates(np.zeros(len(self), np.int64), self.positions)
        return self.candidates(np.arange(max(limit, 0)))

    def named(self, candidates: Candidates, row: int) -> dict[str, Value]:
        """One candidate by names and values."""
        places = candidates.positions[row].tolist()
        return {knob.name: knob.values[place] for knob, place in zip(self.knobs, places, strict=True)}

    def decode(self, named: Sequence[Mapping[str, Value]]) -> Candidates:
        """Candidates from names and values; ValueError for what is not in the space."""
        positions = np.zeros((len(named), len(self.knobs)), np.int64)
        for row, candidate in enumerate(named):
            if sorted(candidate) != sorted(knob.name for knob in self.knobs):
                raise ValueError(f"knobs must be {self._names()}, got {', '.join(candidate)}")
            for column, knob in enumerate(self.knobs):
                if candidate[knob.name] not in knob.values:
                    raise ValueError(
                        f"{knob.name} must be one of {knob.values}, got {candidate[knob.name]!r}"
                    )
                positions[row, column] = knob.values.index(candidate[knob.name])
        found = Candidates(np.zeros(len(named), np.int64), positions)
        self.rows(found)
        return found

    def _names(self) -> str:
        return ", ".join(knob.name for knob in self.knobs)

    def _find(self, positions: IntArray) -> IntArray:
        """Row numbers, -1 for what is no point."""
        digests = row_digests(positions)
        places = np.minimum(np.searchsorted(self._digests, digests), len(self) - 1)
        rows = self._order[places]
        found: IntArray = np.where((self.positions[rows] == positions).all(axis=1), rows, -1)
        return found

    @cached_property
    def _ordered(self) -> NDArray[np.bool_]:
        return np.array([knob.is_ordered for knob in self.knobs])

    # A line holds the points that differ in one knob only, in the order of its values. For each knob,
    # `_lines` lists all rows line by line; each row knows its place in its line, the line's start and size.

    @cached_property
    def _lines(self) -> IntArray:
        keys = self._line_keys
        return np.stack([np.lexsort((self.positions[:, j], keys[j])) for j in range(len(self.knobs))])

    @cached_property
    def _line_keys(self) -> NDArray[np.uint64]:
        without = []
        for column in range(len(self.knobs)):
            others = self.positions.copy()
            others[:, column] = 0
            without.append(row_digests(others))
        return np.stack(without)

    @cached_property
    def _starts(self) -> IntArray:
        return self._line_extents[0]

    @cached_property
    def _line_sizes(self) -> IntArray:
        return self._line_extents[1]

    @cached_property
    def _places(self) -> IntArray:
        places = np.empty(self._lines.shape, np.int64)
        for column, rows in enumerate(self._lines):
            places[column, rows] = np.arange(len(rows)) - self._starts[column, rows]
        return places

    @cached_property
    def _line_extents(self) -> tuple[IntArray, IntArray]:
        starts, sizes = np.empty((2, len(self.knobs), len(self)), np.int64)
        for column, rows in enumerate(self._lines):
            keys = self._line_keys[column, rows]
            is_first = np.concatenate([[True], keys[1:] != keys[:-1]])
            first = np.flatnonzero(is_first)
            line = np.cumsum(is_first) - 1
            starts[column, rows] = first[line]
            sizes[column, rows] = np.diff(np.append(first, len(rows)))[line]
        return starts, sizes
