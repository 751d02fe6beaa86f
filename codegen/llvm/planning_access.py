"""Planning of accesses and expressions inside given loops."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from codegen.ir.affine import Affine
from codegen.ir.expression import Binary, Constant, Expr, InRange, Load, Unary
from codegen.ir.loops import Buffer, Scope, row_major_strides
from codegen.llvm.layout import cut
from codegen.llvm.linear import LoopVariable, Mode, greatest, linear
from codegen.llvm.plan import (
    SLACK_ELEMENTS,
    Access,
    Layout,
    MemoryAccess,
    PlannedBinary,
    PlannedExpr,
    PlannedRange,
    PlannedSelect,
    PlannedUnary,
    RegisterAccess,
    TableAccess,
)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What an access is planned against; ``variables`` changes as loops open and close."""

    buffers: Mapping[str, Buffer]
    layouts: Mapping[str, Layout]
    variables: Mapping[str, LoopVariable]
    lanes: int


def plan_access(around: Surroundings, buffer: str, index: tuple[Affine, ...]) -> Access:
    """Split the flat offset of an element, or its place in a register buffer."""
    layout = around.layouts.get(buffer)
    if layout is None:
        found = around.buffers[buffer]
        offset = flatten(index, cast(tuple[int, ...], row_major_strides(found.shape)))
        return MemoryAccess(buffer, linear(offset, around.variables), _limit(found))
    row = linear(flatten(index, layout.strides), around.variables)
    along = Affine() if layout.vector_dimension is None else index[layout.vector_dimension]
    return RegisterAccess(buffer, layout, row, linear(along, around.variables))


def plan_expr(around: Surroundings, expr: Expr) -> PlannedExpr:
    """Plan every load of an expression."""
    if isinstance(expr, Constant):
        return expr
    if isinstance(expr, Load):
        table = around.buffers[expr.buffer]
        if table.scope is Scope.TABLE:
            return _plan_entry(around, table, expr.index)
        return plan_access(around, expr.buffer, expr.index)
    if isinstance(expr, Unary):
        return PlannedUnary(expr.op, plan_expr(around, expr.operand))
    if isinstance(expr, Binary):
        return PlannedBinary(expr.op, plan_expr(around, expr.left), plan_expr(around, expr.right))
    conditions = tuple(plan_range(around, condition) for condition in expr.conditions)
    return PlannedSelect(conditions, plan_expr(around, expr.then), plan_expr(around, expr.otherwise))


def plan_range(around: Surroundings, condition: InRange) -> PlannedRange:
    """Drop the sides of a condition that hold for every iteration."""
    extents = {name: variable.extent for name, variable in around.variables.items()}
    low, high = cast(int, condition.low), cast(int, condition.high)
    return PlannedRange(
        linear(condition.index, around.variables),
        None if -greatest(condition.index * -1, extents) >= low else low,
        None if greatest(condition.index, extents) < high else high,
    )


def is_safe(around: Surroundings, load: Load) -> bool:
    """Whether every iteration, skipped ones and spare lanes included, reads inside the buffer."""
    if load.buffer in around.layouts:
        return True
    buffer = around.buffers[load.buffer]
    offset = flatten(load.index, cast(tuple[int, ...], row_major_strides(buffer.shape)))
    extents = {name: _rounded_extent(variable, around.lanes) for name, variable in around.variables.items()}
    return greatest(offset, extents) < _limit(buffer) and greatest(offset * -1, extents) <= 0


def flatten(index: tuple[Affine, ...], strides: tuple[int, ...]) -> Affine:
    """One affine offset from an index and the elements between neighbours."""
    constant = 0
    terms: dict[str, int] = {}
    for affine, stride in zip(index, strides, strict=True):
        constant += cast(int, affine.constant) * stride
        for name, coefficient in affine.terms:
            terms[name] = terms.get(name, 0) + cast(int, coefficient) * stride
    return Affine(tuple((name, factor) for name, factor in terms.items() if factor), constant)


def _plan_entry(around: Surroundings, table: Buffer, index: tuple[Affine, ...]) -> TableAccess:
    offset = linear(flatten(index, cast(tuple[int, ...], row_major_strides(table.shape))), around.variables)
    if offset.runtime or offset.lane:
        raise ValueError(f"table {table.name} is read in unrolled loops only, not at {index}")
    return TableAccess(table.values, offset)


def _limit(buffer: Buffer) -> int:
    is_ours = buffer.scope in (Scope.PACKED, Scope.GLOBAL, Scope.LOCAL)
    return math.prod(cast(tuple[int, ...], buffer.shape)) + (SLACK_ELEMENTS if is_ours else 0)


def _rounded_extent(variable: LoopVariable, lanes: int) -> int:
    if variable.mode is not Mode.VECTOR:
        return variable.extent
    last = cut(variable.extent, lanes)[-1]
    return last.start + last.width
