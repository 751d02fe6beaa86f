"""Tensor expressions: what is computed, with no word on how.

A ``Program`` is a sequence of stages. A stage defines every element of one tensor from elements of
earlier ones by scalar arithmetic, under an optional reduction (TVM, arXiv:1802.04799, section 4.1;
ours keeps indices affine, so footprints and strides have closed forms).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from codegen.ir.affine import Affine
from codegen.ir.arithmetic import Int

UnaryOp: TypeAlias = Literal["exp", "neg", "sqrt", "tanh", "erf", "abs", "reciprocal"]
BinaryOp: TypeAlias = Literal["add", "sub", "mul", "div", "max", "min", "pair", "dot_pairs"]
"""``pair`` rounds two numbers to bfloat16 and keeps both in the place of one; ``dot_pairs`` adds the product
of the first numbers of two such and that of the second ones. Schedules make them, no program holds them."""

Reducer: TypeAlias = Literal["sum", "max"]


@dataclass(frozen=True, eq=False)
class Constant:
    """A number, float32 like everything else; zeros of different signs are different numbers."""

    value: float

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Constant) and self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self._identity)

    @property
    def _identity(self) -> tuple[float, float]:
        return self.value, math.copysign(1.0, self.value)


@dataclass(frozen=True)
class Load:
    """One element of a tensor (in a program) or buffer (in a loop AST)."""

    buffer: str
    index: tuple[Affine, ...]


@dataclass(frozen=True)
class Unary:
    """A function of one scalar."""

    op: UnaryOp
    operand: Expr


@dataclass(frozen=True)
class Binary:
    """A function of two scalars."""

    op: BinaryOp
    left: Expr
    right: Expr


@dataclass(frozen=True)
class InRange:
    """``low <= index < high``."""

    index: Affine
    low: Int
    high: Int


@dataclass(frozen=True)
class Select:
    """``then`` where all conditions hold, else ``otherwise``; loads of the other branch never happen."""

    conditions: tuple[InRange, ...]
    then: Expr
    otherwise: Expr


Expr: TypeAlias = Constant | Load | Unary | Binary | Select

IDENTITY: dict[str, float] = {"sum": 0.0, "max": -math.inf}
"""Start value of each reduction."""


@dataclass(frozen=True)
class Axis:
    """A loop of the definition; ``extent`` is positive."""

    name: str
    extent: int

    def __post_init__(self) -> None:
        if self.extent < 1:
            raise ValueError(f"axis {self.name} must have a positive extent, got {self.extent}")


@dataclass(frozen=True)
class Tensor:
    """A dense row-major float32 array. A constant one (a weight) may be packed ahead of time."""

    name: str
    shape: tuple[int, ...]
    is_constant: bool = False

    def __post_init__(self) -> None:
        if any(size < 1 for size in self.shape):
            raise ValueError(f"tensor {self.name} must have positive sizes, got {self.shape}")

    @property
    def num_bytes(self) -> int:
        """Size in memory."""
        return 4 * math.prod(self.shape)


@dataclass(frozen=True)
class Stage:
    """``output[axes] = reducer over reduce_axes of value`` (or just ``value``).

    The output's dimensions are the axes, in order. Axis names are unique within a program's stage.
    """

    output: Tensor
    axes: tuple[Axis, ...]
    value: Expr
    reduce_axes: tuple[Axis, ...] = ()
    reducer: Reducer | None = None

    def __post_init__(self) -> None:
        if tuple(axis.extent for axis in self.axes) != self.output.shape:
            raise ValueError(f"axes of stage {self.output.name} do not match its shape {self.output.shape}")
        if bool(self.reduce_axes) != (self.reducer is not None):
            raise ValueError(f"stage {self.output.name} needs reduce_axes and reducer together")

    @property
    def num_points(self) -> int:
        """Number of times ``value`` is evaluated."""
        return math.prod(axis.extent for axis in (*self.axes, *self.reduce_axes))


@dataclass(frozen=True)
class Program:
    """Inputs, and the stages that compute the last stage's output from them, in order."""

    name: str
    inputs: tuple[Tensor, ...]
    stages: tuple[Stage, ...]
    _hash: list[str] = field(default_factory=list, compare=False, repr=False)

    @property
    def output(self) -> Tensor:
        """The result."""
        return self.stages[-1].output

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Every tensor by name, inputs first."""
        return {t.name: t for t in (*self.inputs, *(stage.output for stage in self.stages))}

    @property
    def flops(self) -> int:
        """Scalar arithmetic operations, a reduction step counted as one; selects and loads are free."""
        return sum(s.num_points * (count_flops(s.value) + (s.reducer is not None)) for s in self.stages)

    @property
    def hash(self) -> str:
        """Structural hash of the canonical text, 16 hex digits; the name of the program is left out."""
        from codegen.ir.text import program_text

        if not self._hash:
            body = program_text(self).split("\n", 1)[1]
            self._hash.append(hashlib.sha256(body.encode()).hexdigest()[:16])
        return self._hash[0]


def count_flops(expr: Expr) -> int:
    """Arithmetic operations of one evaluation."""
    return sum(isinstance(node, (Unary, Binary)) for node in walk(expr))


def walk(expr: Expr) -> Iterator[Expr]:
    """The expression and everything in it, parents first."""
    yield expr
    for child in children(expr):
        yield from walk(child)


def children(expr: Expr) -> tuple[Expr, ...]:
    """Direct subexpressions."""
    if isinstance(expr, Unary):
        return (expr.operand,)
    if isinstance(expr, Binary):
        return (expr.left, expr.right)
    if isinstance(expr, Select):
        return (expr.then, expr.otherwise)
    return ()


def loads(expr: Expr) -> list[Load]:
    """Every load, in order of evaluation."""
    return [node for node in walk(expr) if isinstance(node, Load)]
