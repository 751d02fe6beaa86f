"""Integers that are either known, many at once, or symbolic.

A schedule is defined by arithmetic on tile sizes. The same arithmetic runs on

* plain ``int``: one concrete loop AST, for printing, interpreting and code generation;
* ``numpy`` integer arrays of shape ``(N,)``: N candidates at once;
* ``Symbol``: the arithmetic itself, recorded once per sketch and replayed on arrays of any length,
  so that the per-candidate cost does not include walking the tree (see ``codegen.ir.trace``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

IntArray: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Symbol:
    """A node of recorded integer arithmetic: ``operation`` applied to ``operands``.

    Leaves have the operation ``"input"`` and one operand, the name of the knob they stand for.
    Equality is identity, so a Symbol may be a dictionary key.
    """

    operation: str
    operands: tuple[Symbol | int | str, ...]

    def __add__(self, other: Symbol | int) -> Symbol | int:
        return self if _is_zero(other) else Symbol("add", (self, other))

    def __radd__(self, other: int) -> Symbol | int:
        return self if _is_zero(other) else Symbol("add", (other, self))

    def __sub__(self, other: Symbol | int) -> Symbol | int:
        return self if _is_zero(other) else Symbol("sub", (self, other))

    def __rsub__(self, other: int) -> Symbol:
        return Symbol("sub", (other, self))

    def __mul__(self, other: Symbol | int) -> Symbol | int:
        return _times(self, other)

    def __rmul__(self, other: int) -> Symbol | int:
        return _times(self, other)

    def __floordiv__(self, other: Symbol | int) -> Symbol | int:
        return self if _is_one(other) else Symbol("floordiv", (self, other))

    def __rfloordiv__(self, other: int) -> Symbol:
        return Symbol("floordiv", (other, self))

    def __neg__(self) -> Symbol:
        return Symbol("sub", (0, self))


class Int(Protocol):
    """An ``int``, an array of them, or a ``Symbol``: whatever the arithmetic of schedules runs on."""

    def __add__(self, other: Any, /) -> Any: ...
    def __radd__(self, other: Any, /) -> Any: ...
    def __sub__(self, other: Any, /) -> Any: ...
    def __rsub__(self, other: Any, /) -> Any: ...
    def __mul__(self, other: Any, /) -> Any: ...
    def __rmul__(self, other: Any, /) -> Any: ...
    def __floordiv__(self, other: Any, /) -> Any: ...
    def __rfloordiv__(self, other: Any, /) -> Any: ...
    def __neg__(self) -> Any: ...


def symbol(name: str) -> Symbol:
    """The recorded stand-in for the knob ``name``."""
    return Symbol("input", (name,))


def ceil_div(numerator: Int, denominator: Int) -> Int:
    """Number of tiles of size ``denominator`` that cover ``numerator``; both positive.

    >>> ceil_div(7, 2)
    4
    """
    tiles: Int = (numerator + denominator - 1) // denominator
    return tiles


def minimum(left: Int, right: Int) -> Int:
    """The smaller of two, elementwise for arrays, recorded for symbols."""
    if isinstance(left, int) and isinstance(right, int):
        return min(left, right)
    if isinstance(left, Symbol) or isinstance(right, Symbol):
        return Symbol("min", (left, right))  # type: ignore[arg-type]
    smaller: IntArray = np.minimum(np.asarray(left), np.asarray(right))
    return smaller


def maximum(left: Int, right: Int) -> Int:
    """The larger of two, elementwise for arrays, recorded for symbols."""
    if isinstance(left, int) and isinstance(right, int):
        return max(left, right)
    if isinstance(left, Symbol) or isinstance(right, Symbol):
        return Symbol("max", (left, right))  # type: ignore[arg-type]
    larger: IntArray = np.maximum(np.asarray(left), np.asarray(right))
    return larger


def is_known(*values: Int) -> bool:
    """Whether every value is a plain int, so that decisions may depend on it."""
    return all(isinstance(value, int) for value in values)


def _is_zero(value: object) -> bool:
    return isinstance(value, int) and value == 0


def _is_one(value: object) -> bool:
    return isinstance(value, int) and value == 1


def _times(left: Symbol, right: Symbol | int) -> Symbol | int:
    if _is_zero(right):
        return 0
    return left if _is_one(right) else Symbol("mul", (left, right))
