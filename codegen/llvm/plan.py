"""A loop AST prepared for emission: every decision that does not depend on the unrolled copy is made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from codegen.ir.expression import BinaryOp, Constant, Reducer, UnaryOp
from codegen.ir.loops import Fetch
from codegen.llvm.linear import Linear, LoopVariable
from codegen.llvm.sites import GuardId


@dataclass(frozen=True, slots=True)
class Chunk:
    """``count`` elements from ``start`` held in a vector of ``width`` lanes; the last lanes may be spare."""

    start: int
    count: int
    width: int


@dataclass(frozen=True, slots=True)
class Layout:
    """How a register buffer is cut into SSA values: chunks along one dimension, or scalars."""

    strides: tuple[int, ...]
    vector_dimension: int | None
    chunks: tuple[Chunk, ...]


@dataclass(frozen=True, slots=True)
class MemoryAccess:
    """An element of a buffer in memory; offsets in elements, ``limit`` elements may be read."""

    buffer: str
    offset: Linear
    limit: int


@dataclass(frozen=True, slots=True)
class RegisterAccess:
    """An element of a register buffer: its place along the vector dimension, and the rest, flattened."""

    buffer: str
    layout: Layout
    row: Linear
    along: Linear


SLACK_ELEMENTS = 16
"""Elements that may be read past the end of a buffer of ours, so that spare lanes need no mask."""


@dataclass(frozen=True, slots=True)
class TableAccess:
    """A number out of a table, known in each unrolled copy."""

    values: tuple[float, ...]
    offset: Linear


Access: TypeAlias = MemoryAccess | RegisterAccess


@dataclass(frozen=True, slots=True)
class PlannedUnary:
    """A function of one planned operand."""

    op: UnaryOp
    operand: PlannedExpr


@dataclass(frozen=True, slots=True)
class PlannedBinary:
    """A function of two planned operands."""

    op: BinaryOp
    left: PlannedExpr
    right: PlannedExpr


@dataclass(frozen=True, slots=True)
class PlannedRange:
    """``low <= index < high``; a side that cannot fail is None."""

    index: Linear
    low: int | None
    high: int | None


@dataclass(frozen=True, slots=True)
class PlannedSelect:
    """``then`` where all conditions hold; loads of the other side are masked or go to a legal address."""

    conditions: tuple[PlannedRange, ...]
    then: PlannedExpr
    otherwise: PlannedExpr


@dataclass(frozen=True, slots=True)
class PlannedFolded:
    """An expression that reads tables, to be written anew for each copy with their numbers in place."""

    expr: PlannedExpr


PlannedExpr: TypeAlias = (
    Constant
    | MemoryAccess
    | RegisterAccess
    | TableAccess
    | PlannedUnary
    | PlannedBinary
    | PlannedSelect
    | PlannedFolded
)


@dataclass(frozen=True, slots=True)
class PlannedGuard:
    """A guard that can fail. ``own`` is the coefficient of the loop's own variable in ``index``."""

    identifier: GuardId
    terms: tuple[tuple[LoopVariable, int], ...]
    index: Linear
    bound: int
    own: int


@dataclass(frozen=True, slots=True)
class PlannedStore:
    """``skippable`` guards need no test; a deferred reduction over lanes is completed after its loop."""

    target: Access
    value: PlannedExpr
    reducer: Reducer | None
    skippable: frozenset[GuardId]
    is_deferred: bool = False


@dataclass(frozen=True, slots=True)
class PlannedIf:
    """A choice between statements; ``stored`` names the buffers written in either."""

    conditions: tuple[PlannedRange, ...]
    then: tuple[PlannedNode, ...]
    otherwise: tuple[PlannedNode, ...]
    stored: frozenset[str]


@dataclass(frozen=True, slots=True)
class PlannedLoop:
    """``stored`` names the buffers written inside; ``costly`` guards inside deserve a version without them.

    ``branches`` says that a failing guard is best branched on: nothing inside outlives the branch.
    """

    variable: LoopVariable
    is_parallel: bool
    unroll: int
    guards: tuple[PlannedGuard, ...]
    chunks: tuple[Chunk, ...]
    body: tuple[PlannedNode, ...]
    stored: frozenset[str]
    costly: tuple[PlannedGuard, ...]
    branches: bool
    fetches: Fetch | None = None


PlannedNode: TypeAlias = PlannedLoop | PlannedStore | PlannedIf
