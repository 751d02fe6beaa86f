"""Sketches: the shape of a loop tree with knobs left open."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from codegen.ir.arithmetic import Int, symbol
from codegen.ir.loops import LoopProgram

Values: TypeAlias = Mapping[str, Int]


@dataclass(frozen=True)
class Knob:
    """A choice among ascending positive integers."""

    name: str
    values: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.values or list(self.values) != sorted(set(self.values)) or self.values[0] < 1:
            raise ValueError(f"knob {self.name} needs ascending positive values, got {self.values}")


@dataclass(frozen=True, eq=False)
class KnobGroup:
    """Knobs that are chosen together: ``rows[i]`` holds one allowed combination of value positions.

    Constraints between knobs live here, so that a space can be counted and sampled uniformly.
    """

    knobs: tuple[Knob, ...]
    rows: NDArray[np.int64]

    def __post_init__(self) -> None:
        if not len(self.rows):
            raise ValueError(f"no combination of {[knob.name for knob in self.knobs]} is allowed")


def free(knob: Knob) -> KnobGroup:
    """A knob under no constraint."""
    return KnobGroup((knob,), np.arange(len(knob.values), dtype=np.int64)[:, None])


def constrained(knobs: tuple[Knob, ...], is_allowed: Callable[[tuple[int, ...]], bool]) -> KnobGroup:
    """The combinations of values for which the predicate holds; keep their number small.

    The predicate sees the values of the first knobs, then of one more, and so on: what it refuses is not
    extended.
    """
    rows: list[tuple[int, ...]] = [()]
    values: list[tuple[int, ...]] = [()]
    for knob in knobs:
        longer = [
            ((*row, position), (*start, value))
            for row, start in zip(rows, values, strict=True)
            for position, value in enumerate(knob.values)
        ]
        kept = [(row, start) for row, start in longer if is_allowed(start)]
        rows, values = [row for row, _ in kept], [start for _, start in kept]
    return KnobGroup(knobs, np.asarray(rows, dtype=np.int64).reshape(len(rows), len(knobs)))


@dataclass(frozen=True)
class Tiling:
    """How threads share an axis: in tiles as long as the product of some knobs' values."""

    extent: int
    knobs: tuple[str, ...]


@dataclass(frozen=True)
class Sketch:
    """One loop-tree topology: its knobs, and the arithmetic that lowers values of them.

    ``lower`` accepts ints, arrays or symbols for the knob values and returns a tree of one topology
    for all of them. ``limits`` gives, for some knobs, the value beyond which a larger one changes
    nothing, from the values of the knobs before it; it makes equal kernels recognisable. ``errors`` holds,
    by the tensor that a stage makes, the rounding error to expect for inputs of order one, where the sketch
    computes the stage by other arithmetic than the program's. ``tilings`` says how threads share the work:
    their tiles are all combinations of the tiles of each axis; empty where that is not so or is of no use.
    """

    name: str
    groups: tuple[KnobGroup, ...]
    lower: Callable[[Values], LoopProgram]
    limits: Mapping[str, Callable[[Values], Int]] = field(default_factory=dict)
    errors: Mapping[str, float] = field(default_factory=dict)
    tilings: tuple[Tiling, ...] = ()

    @property
    def knobs(self) -> tuple[Knob, ...]:
        """All knobs, in column order."""
        return tuple(knob for group in self.groups for knob in group.knobs)

    @cached_property
    def recorded(self) -> LoopProgram:
        """The loop AST with knobs as symbols: lowered once, then filled in for each use."""
        return self.lower({knob.name: symbol(knob.name) for knob in self.knobs})

    def count(self) -> int:
        """Number of points."""
        return int(np.prod([len(group.rows) for group in self.groups], dtype=object))
