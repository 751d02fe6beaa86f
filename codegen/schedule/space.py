"""The space of schedules of one program on one target: several sketches and their knobs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, Generic

import numpy as np
from numpy.typing import NDArray
from typing_extensions import TypeVar

from codegen.gpu_target import GpuTarget
from codegen.ir.arithmetic import Int
from codegen.ir.expression import Program
from codegen.ir.loops import LoopProgram
from codegen.schedule.candidates import Candidates, concatenate
from codegen.schedule.errors import require
from codegen.schedule.group_table import GroupTable
from codegen.schedule.idle import IdleCores
from codegen.schedule.instantiate import instantiate
from codegen.schedule.neighbours import Neighbours
from codegen.schedule.simplify import simplify_loops
from codegen.schedule.sketch import Sketch
from codegen.target import Target

NamedCandidate = Mapping[str, object]
"""``{"sketch": name, "knobs": {knob name: value}}``, the form that records and JSON files hold."""


_NUM_DRAWS = (1, 1, 1, 1, 1, 1, 1, 1, 16, 64, 256, 1024)
"""Of each candidate, in rounds of drawing for what the round before found hopeless: few are left at last."""

_MOST_DRAWS = 65_536
"""Candidates held at once in such a round."""

_NUM_MOVES = 8
"""Tried for a candidate before all its neighbours are looked through."""

SpaceTarget = TypeVar("SpaceTarget", Target, GpuTarget, default=Target)


class Space(Generic[SpaceTarget]):
    """All candidates of a program on a target, a CPU unless it is said otherwise.

    Every operation on candidates is batched; a generator makes each stream repeatable. What leaves half of
    the cores idle (see ``IdleCores``) is *hopeless*: it is counted, enumerated, decoded and lowered like any
    other candidate, so that records of it stay good, but neither sampled nor moved to.
    """

    def __init__(self, program: Program, target: SpaceTarget, sketches: tuple[Sketch, ...]) -> None:
        if not sketches:
            raise ValueError(f"no sketch rule applies to program {program.name}")
        self.program = program
        self.target: SpaceTarget = target
        self.sketches = sketches
        self._table = GroupTable(sketches)
        num_cores = target.num_threads if isinstance(target, Target) else 1
        self._idle_cores = IdleCores(sketches, num_cores, program.flops)
        self._neighbours = Neighbours(self._table, self._idle_cores)

    def count(self) -> int:
        """Number of points, exactly; some of them lower to equal kernels (see ``canonical``)."""
        return sum(sketch.count() for sketch in self.sketches)

    def is_hopeless(self, candidates: Candidates) -> NDArray[np.bool_]:
        """Which candidates are not worth a trial, shape (N,)."""
        return self._idle_cores(candidates.sketches, candidates.positions)

    def sample(self, num: int, rng: np.random.Generator) -> Candidates:
        """``num`` points: a sketch at random, then uniform over what is not hopeless in it.

        Where hardly any point of a sketch is worth a trial, those nearest to hopeless draws stand in.
        """
        sketches = rng.integers(len(self.sketches), size=num)
        return self.sample_of(sketches, rng)

    def sample_of(self, sketches: NDArray[np.int64], rng: np.random.Generator) -> Candidates:
        """A point of each given sketch, uniform over what is not hopeless in it."""
        sampled = Candidates(sketches, self._table.sample(sketches, rng))
        self._redraw(sampled, lambda rows: self._table.sample(sketches[rows], rng))
        return sampled

    def mutate(
        self, candidates: Candidates, rng: np.random.Generator, sketch_change: float = 0.05
    ) -> Candidates:
        """One neighbour of each candidate: one group of knobs chosen anew, now and then another sketch.

        A move to another sketch keeps the groups of knobs that both have. No candidate stays as it is, nor
        moves to what is hopeless, unless all neighbours within its sketch are; a hopeless one then is
        sampled anew.
        """
        moved = self._moved(candidates, rng, sketch_change)
        rows = np.flatnonzero(self._is_useless(moved, candidates))
        for _ in range(_NUM_MOVES):
            if not len(rows):
                return moved
            again = self._moved(candidates[rows], rng, sketch_change)
            moved.sketches[rows], moved.positions[rows] = again.sketches, again.positions
            rows = rows[self._is_useless(again, candidates[rows])]
        for row in rows:
            self._put_neighbour(moved, row, candidates, rng)
        return moved

    def counterparts(self, candidates: Candidates, rng: np.random.Generator) -> Candidates:
        """One candidate of each sketch: of those given, best first, the next of kin carried over.

        That is the first of those that have most groups of knobs in common with the sketch; these groups are
        kept. Sketches come in rounds with one of each family, which is the first part of their names.
        """
        sketches = self._in_rounds
        kin = self._table.num_shared(candidates.sketches)[:, sketches].argmax(axis=0)
        old, positions = candidates.sketches[kin], candidates.positions[kin]
        converted = Candidates(sketches, self._table.convert(old, sketches, positions, rng))
        self._redraw(
            converted, lambda rows: self._table.convert(old[rows], sketches[rows], positions[rows], rng)
        )
        return converted

    def num_values(self) -> NDArray[np.int64]:
        """Values of each knob, shape (sketches, most knobs); 1 where a sketch has no such knob."""
        sizes = np.ones((len(self.sketches), self._table.num_columns), dtype=np.int64)
        for number, sketch in enumerate(self.sketches):
            sizes[number, : len(sketch.knobs)] = [len(knob.values) for knob in sketch.knobs]
        return sizes

    def nearest(self, sketches: NDArray[np.int64], positions: NDArray[np.floating[Any]]) -> Candidates:
        """The points of these sketches that differ least in sum from the positions, fractions too.

        Where such a point is hopeless, groups of knobs change until it is not: the one whose change takes it
        the least way, as far as one is enough.
        """
        found = Candidates(sketches, self._table.nearest(sketches, positions))
        for row in np.flatnonzero(self.is_hopeless(found)):
            found.positions[row] = self._neighbours.mended(found[row : row + 1], positions[row])
        return found

    def enumerate(self, limit: int) -> Candidates:
        """The first ``limit`` points in a fixed order: sketch by sketch, the last group of knobs fastest."""
        require(limit >= 0, f"limit must not be negative, got {limit}")
        parts: list[Candidates] = []
        for number, sketch in enumerate(self.sketches):
            num = min(limit, sketch.count())
            limit -= num
            positions = np.zeros((num, self._table.num_columns), dtype=np.int64)
            rest, column = np.arange(num), len(sketch.knobs)
            for group in reversed(sketch.groups):
                rest, chosen = np.divmod(rest, len(group.rows))
                column -= len(group.knobs)
                positions[:, column : column + len(group.knobs)] = group.rows[chosen]
            parts.append(Candidates(np.full(num, number, dtype=np.int64), positions))
        return concatenate(parts)

    def canonical(self, candidates: Candidates) -> Candidates:
        """The same kernels, with knob values that change nothing set to their least equivalent."""
        positions = candidates.positions.copy()
        for number, rows in self.by_sketch(candidates):
            sketch = self.sketches[number]
            values: dict[str, Int] = {}
            for column, (name, array) in enumerate(self._knob_values[number]):
                if name in sketch.limits:
                    least = np.searchsorted(array, np.asarray(sketch.limits[name](values)))
                    positions[rows, column] = np.minimum(positions[rows, column], least)
                values[name] = array[positions[rows, column]]
        return Candidates(candidates.sketches, positions)

    def by_sketch(self, candidates: Candidates) -> list[tuple[int, NDArray[np.int64]]]:
        """Sketch numbers that occur, each with its rows."""
        if not len(candidates):
            return []
        order = np.argsort(candidates.sketches, kind="stable")
        numbers, starts = np.unique(candidates.sketches[order], return_index=True)
        return list(zip(numbers.tolist(), np.split(order, starts[1:]), strict=True))

    def values(self, sketch: int, positions: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
        """Knob values, each of shape (N,), of candidates that all belong to one sketch."""
        arrays = self._knob_values[sketch]
        return {name: array[positions[:, column]] for column, (name, array) in enumerate(arrays)}

    def value_table(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """All knob values in one array, and where those of each knob start in it, (sketches, most knobs)."""
        starts = np.zeros((len(self.sketches), self._table.num_columns), dtype=np.int64)
        values: list[int] = [1]
        for number, sketch in enumerate(self.sketches):
            for column, knob in enumerate(sketch.knobs):
                starts[number, column] = len(values)
                values.extend(knob.values)
        return np.array(values, dtype=np.float64), starts

    def named(self, candidates: Candidates, row: int) -> dict[str, object]:
        """One candidate by names and values."""
        sketch = self.sketches[int(candidates.sketches[row])]
        knobs = {k.name: k.values[int(candidates.positions[row, c])] for c, k in enumerate(sketch.knobs)}
        return {"sketch": sketch.name, "knobs": knobs}

    def decode(self, named: list[NamedCandidate]) -> Candidates:
        """Candidates from names and values; ScheduleError for what lies outside the space."""
        positions = np.zeros((len(named), self._table.num_columns), dtype=np.int64)
        sketches = np.zeros(len(named), dtype=np.int64)
        for row, candidate in enumerate(named):
            sketches[row], columns = self._decode_one(candidate)
            positions[row, : len(columns)] = columns
        return Candidates(sketches, positions)

    def lower(self, candidates: Candidates, row: int) -> LoopProgram:
        """The loop AST of one candidate, with what always holds simplified away."""
        sketch = self.sketches[int(candidates.sketches[row])]
        columns = candidates.positions[row]
        values = {knob.name: knob.values[int(columns[c])] for c, knob in enumerate(sketch.knobs)}
        return simplify_loops(instantiate(sketch.recorded, values))

    def lower_named(self, named: NamedCandidate) -> LoopProgram:
        """The loop AST of one candidate given by names and values."""
        return self.lower(self.decode([named]), 0)

    def errors(self, named: NamedCandidate) -> Mapping[str, float]:
        """What ``tolerance`` must know of a candidate: ``Sketch.errors`` of its sketch."""
        return self.sketches[int(self.decode([named]).sketches[0])].errors

    def _redraw(self, drawn: Candidates, draw: Callable[[NDArray[np.int64]], NDArray[np.int64]]) -> None:
        """Put other positions in hopeless rows: drawn anew, more and more of them, or mended at last."""
        rows = np.flatnonzero(self.is_hopeless(drawn))
        for wanted in _NUM_DRAWS:
            if not len(rows):
                return
            num_draws = min(wanted, max(_MOST_DRAWS // len(rows), 1))
            tried = np.repeat(rows, num_draws)
            positions = draw(tried)
            is_good = ~self._idle_cores(drawn.sketches[tried], positions).reshape(len(rows), num_draws)
            first = np.arange(len(rows)) * num_draws + is_good.argmax(axis=1)
            drawn.positions[rows] = positions[first]
            rows = rows[~is_good.any(axis=1)]
        for row in rows:
            drawn.positions[row] = self._neighbours.mended(drawn[row : row + 1], drawn.positions[row])

    def _is_useless(self, moved: Candidates, candidates: Candidates) -> NDArray[np.bool_]:
        """Whether a move led nowhere or to what is hopeless."""
        is_same = (moved.positions == candidates.positions).all(axis=1)
        useless: NDArray[np.bool_] = self.is_hopeless(moved) | (
            is_same & (moved.sketches == candidates.sketches)
        )
        return useless

    def _put_neighbour(
        self, moved: Candidates, row: np.int64, candidates: Candidates, rng: np.random.Generator
    ) -> None:
        """Any neighbour within the candidate's sketch that is worth a trial, where draws found none."""
        alone = candidates[row : row + 1]
        good = self._neighbours.worthwhile(alone)
        moved.sketches[row], moved.positions[row] = alone.sketches[0], alone.positions[0]
        if len(good):
            moved.positions[row] = good.positions[rng.integers(len(good))]
        elif self.is_hopeless(alone)[0]:
            moved.positions[row] = self.sample_of(alone.sketches, rng).positions[0]

    def _moved(self, candidates: Candidates, rng: np.random.Generator, sketch_change: float) -> Candidates:
        """A neighbour of each candidate, be it hopeless or not; in arrays of its own."""
        old, sketches = candidates.sketches, candidates.sketches.copy()
        positions = self._table.mutate(old, candidates.positions, rng)
        rows = np.flatnonzero(rng.random(len(candidates)) < sketch_change)
        if not len(rows):
            return Candidates(sketches, positions)
        sketches[rows] = rng.integers(len(self.sketches), size=len(rows))
        positions[rows] = self._table.convert(old[rows], sketches[rows], candidates.positions[rows], rng)
        return Candidates(sketches, positions)

    @cached_property
    def _knob_values(self) -> list[list[tuple[str, NDArray[np.int64]]]]:
        """Of each sketch, its knobs in order: name and values; asked for at every step of a search."""
        return [
            [(knob.name, np.asarray(knob.values, dtype=np.int64)) for knob in sketch.knobs]
            for sketch in self.sketches
        ]

    @cached_property
    def _in_rounds(self) -> NDArray[np.int64]:
        """Sketch numbers: the first of every family, then the second of every family, and so on."""
        families = [sketch.name.split(".")[0] for sketch in self.sketches]
        rounds = [families[:number].count(family) for number, family in enumerate(families)]
        return np.argsort(rounds, kind="stable")

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {sketch.name: number for number, sketch in enumerate(self.sketches)}

    def _decode_one(self, named: NamedCandidate) -> tuple[int, list[int]]:
        name, knobs = named.get("sketch"), named.get("knobs")
        require(name in self._numbers, f"sketch must be one of {sorted(self._numbers)}, got {name!r}")
        number = self._numbers[str(name)]
        sketch = self.sketches[number]
        assert isinstance(knobs, Mapping)
        expected = [knob.name for knob in sketch.knobs]
        require(sorted(knobs) == sorted(expected), f"knobs must be {expected}, got {sorted(knobs)}")
        columns = []
        for knob in sketch.knobs:
            value = knobs[knob.name]
            require(value in knob.values, f"knob {knob.name} must be one of {knob.values}, got {value!r}")
            columns.append(knob.values.index(value))
        require(self._table.contains(number, columns), f"the combination {dict(knobs)} is not allowed")
        return number, columns
