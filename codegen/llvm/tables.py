"""Numbers out of tables written into the expressions of one unrolled copy."""

from __future__ import annotations

from collections.abc import Mapping

from codegen.ir.expression import Constant
from codegen.llvm.linear import displacement
from codegen.llvm.plan import (
    PlannedBinary,
    PlannedExpr,
    PlannedSelect,
    PlannedUnary,
    TableAccess,
)

_ZERO = Constant(0.0)


def has_table(expr: PlannedExpr) -> bool:
    """Whether a table is read anywhere in an expression."""
    if isinstance(expr, PlannedUnary):
        return has_table(expr.operand)
    if isinstance(expr, PlannedBinary):
        return has_table(expr.left) or has_table(expr.right)
    if isinstance(expr, PlannedSelect):
        return has_table(expr.then) or has_table(expr.otherwise)
    return isinstance(expr, TableAccess)


def with_numbers(expr: PlannedExpr, offsets: Mapping[str, int]) -> PlannedExpr:
    """The expression with tables read, terms that are zero left out, and signs for factors of one."""
    if isinstance(expr, TableAccess):
        return Constant(expr.values[displacement(expr.offset, offsets)])
    if isinstance(expr, PlannedUnary):
        return PlannedUnary(expr.op, with_numbers(expr.operand, offsets))
    if isinstance(expr, PlannedSelect):
        then, otherwise = with_numbers(expr.then, offsets), with_numbers(expr.otherwise, offsets)
        return PlannedSelect(expr.conditions, then, otherwise)
    if isinstance(expr, PlannedBinary):
        left, right = with_numbers(expr.left, offsets), with_numbers(expr.right, offsets)
        if expr.op == "mul":
            return _product(left, right)
        if expr.op == "add":
            return _sum(left, right)
        return PlannedBinary(expr.op, left, right)
    return expr


def _product(left: PlannedExpr, right: PlannedExpr) -> PlannedExpr:
    for factor, other in ((left, right), (right, left)):
        if not isinstance(factor, Constant):
            continue
        if factor.value == 0:
            return _ZERO
        if factor.value == 1:
            return other
        if factor.value == -1:
            return PlannedUnary("neg", other)
    return PlannedBinary("mul", left, right)


def _sum(left: PlannedExpr, right: PlannedExpr) -> PlannedExpr:
    for term, other in ((left, right), (right, left)):
        if isinstance(term, Constant) and term.value == 0:
            return other
        if isinstance(term, PlannedUnary) and term.op == "neg":
            return PlannedBinary("sub", other, term.operand)
    return PlannedBinary("add", left, right)
