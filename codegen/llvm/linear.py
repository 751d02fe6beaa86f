"""Index arithmetic split by when its parts are known: while text is emitted, or while it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import cast

from codegen.ir.affine import Affine


class Mode(Enum):
    """How a loop variable appears in the emitted text."""

    RUNTIME = auto()  # an SSA value, plus a known displacement inside unrolled copies
    UNROLLED = auto()  # a known number in each copy of the body
    VECTOR = auto()  # a known (or runtime) start, plus the lane number


@dataclass(frozen=True, slots=True)
class LoopVariable:
    """A loop variable in scope. ``last_start`` is its greatest value without copies and lanes."""

    name: str
    mode: Mode
    depth: int
    extent: int
    last_start: int
    is_runtime: bool
    has_copies: bool


Terms = tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Linear:
    """``constant + offsets + runtime + lane * (lane number)``.

    ``offsets`` are terms in the known part of variables, ``copies`` those of them that merely step
    through the unrolled copies of a runtime loop. ``runtime`` terms are ordered from the outermost
    loop in; ``low`` and ``high`` bound the runtime terms, copies included.
    """

    constant: int
    offsets: Terms
    copies: Terms
    runtime: Terms
    lane: int
    low: int
    high: int


def linear(affine: Affine, variables: Mapping[str, LoopVariable]) -> Linear:
    """Split an index by the modes of the variables in scope; their coefficients are plain ints."""
    offsets: list[tuple[str, int]] = []
    copies: list[tuple[str, int]] = []
    runtime: list[tuple[int, str, int]] = []
    lane = low = high = 0
    for name, any_coefficient in affine.terms:
        coefficient = cast(int, any_coefficient)
        variable = variables[name]
        if variable.mode is Mode.VECTOR:
            lane += coefficient
        if variable.is_runtime:
            runtime.append((variable.depth, name, coefficient))
            reach = coefficient * variable.last_start
            low, high = low + min(reach, 0), high + max(reach, 0)
        if variable.has_copies or not variable.is_runtime:
            offsets.append((name, coefficient))
        if variable.has_copies:
            copies.append((name, coefficient))
    terms = tuple((name, coefficient) for _, name, coefficient in sorted(runtime))
    return Linear(cast(int, affine.constant), tuple(offsets), tuple(copies), terms, lane, low, high)


def displacement(index: Linear, offsets: Mapping[str, int]) -> int:
    """The part that is known while text is emitted."""
    total = index.constant
    for name, coefficient in index.offsets:
        total += coefficient * offsets[name]
    return total


def known_range(index: Linear, offsets: Mapping[str, int]) -> tuple[int, int]:
    """Least and greatest value of lane 0 over every iteration of the runtime loops."""
    known = displacement(index, offsets)
    for name, coefficient in index.copies:
        known -= coefficient * offsets[name]
    return known + index.low, known + index.high


def greatest(affine: Affine, extents: Mapping[str, int]) -> int:
    """Largest value of an index over full loop extents."""
    total = cast(int, affine.constant)
    for name, coefficient in affine.terms:
        total += max(0, cast(int, coefficient) * (extents[name] - 1))
    return total
