"""Sigmoids in disguise: what has the form ``scale / (1 + 2^(factor x))``.

Sigmoid is written as the reciprocal of an exponential and 1; GELU's approximation has ``1 + tanh(u)``, which
equals ``2 / (1 + exp(-2 u))``. One power of two, an addition and a division compute either, where tanh alone
takes a division of polynomials; and where tanh comes close to -1 no digits are lost.
"""

from __future__ import annotations

from dataclasses import dataclass

from codegen.ir.expression import Constant
from codegen.llvm.functions import LOG2_E
from codegen.llvm.plan import PlannedBinary, PlannedExpr, PlannedUnary

_ONE = Constant(1.0)


@dataclass(frozen=True)
class Logistic:
    """``numerator * scale / (1 + 2^(factor * exponent))``; without a numerator that is 1."""

    exponent: PlannedExpr
    factor: float
    scale: float
    numerator: PlannedExpr | None = None


def as_logistic(expr: PlannedExpr) -> Logistic | None:
    """The expression in that form if it has it, products with such a one included."""
    if isinstance(expr, PlannedBinary) and expr.op == "mul":
        for one, other in ((expr.left, expr.right), (expr.right, expr.left)):
            found = _plain_logistic(other)
            if found is not None:
                factor, numerator = _scaled(one, found.scale)
                return Logistic(found.exponent, found.factor, factor, numerator)
        return None
    return _plain_logistic(expr)


def _plain_logistic(expr: PlannedExpr) -> Logistic | None:
    if isinstance(expr, PlannedUnary) and expr.op == "reciprocal":
        power = _one_more_than(expr.operand)
        if isinstance(power, PlannedUnary) and power.op == "exp":
            factor, exponent = _scaled(power.operand, LOG2_E)
            return Logistic(exponent, factor, 1.0)
    tangent = _one_more_than(expr)
    if isinstance(tangent, PlannedUnary) and tangent.op == "tanh":
        factor, exponent = _scaled(tangent.operand, -2.0 * LOG2_E)
        return Logistic(exponent, factor, 2.0)
    return None


def _one_more_than(expr: PlannedExpr) -> PlannedExpr | None:
    """What one is added to."""
    if not isinstance(expr, PlannedBinary) or expr.op != "add":
        return None
    if expr.right == _ONE:
        return expr.left
    return expr.right if expr.left == _ONE else None


_LEAST, _MOST = 1e-30, 1e30
"""Constants that float32 holds with room to spare: others, taken out of a product, may turn 0 into NaN."""


def _scaled(expr: PlannedExpr, factor: float) -> tuple[float, PlannedExpr]:
    """A product as its constant factors and the rest."""
    if isinstance(expr, PlannedUnary) and expr.op == "neg":
        return _scaled(expr.operand, -factor)
    if isinstance(expr, PlannedBinary) and expr.op == "mul":
        for constant, other in ((expr.left, expr.right), (expr.right, expr.left)):
            if isinstance(constant, Constant) and _LEAST < abs(factor * constant.value) < _MOST:
                return _scaled(other, factor * constant.value)
    return factor, expr
