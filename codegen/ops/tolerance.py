"""How far a correct kernel may be from the float64 reference."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from codegen.ir.expression import Binary, Constant, Expr, Load, Program, Select, Stage, Unary
from codegen.precision import Precision

_EPSILON = float(np.finfo(np.float32).eps)

_SAFETY = 4.0
"""Kernels may use other summation orders and approximations of a few units in the last place."""


@dataclass(frozen=True)
class _Size:
    """Typical magnitude of a value, its rounding error, and whether it is known not to be negative."""

    scale: float
    error: float
    is_positive: bool = False


def tolerance(
    program: Program, precision: Precision | None = None, errors: Mapping[str, float] | None = None
) -> tuple[float, float]:
    """``(rtol, atol)`` for ``np.allclose(actual, reference)``, in float32 unless another precision is given.

    A running estimate of magnitude and rounding error through the stages, for inputs of order one that
    are independent of each other. Each of the K roundings of a sum is
    relative to the sum so far, and they add up like a random walk; terms of mixed sign cancel, which is
    why an absolute tolerance is needed. The reference has the same inputs, rounded to their storage
    format; operands of a matrix product may be rounded once more, and the result is rounded to storage.

    ``errors`` stand, by the tensor that a stage makes, for the estimates where a kernel computes by other
    arithmetic than the program's (see ``Sketch.errors``).
    """
    precision = precision or Precision()
    sizes = {tensor.name: _Size(1.0, 0.0) for tensor in program.inputs}
    for stage in program.stages:
        size = _size(stage.value, _as_operands(sizes, precision) if _is_product(stage) else sizes)
        if stage.reducer == "sum":
            size = _sum(size, math.prod(axis.extent for axis in stage.reduce_axes))
        if errors and stage.output.name in errors:
            size = replace(size, error=errors[stage.output.name])
        sizes[stage.output.name] = size
    result = sizes[program.output.name]
    rounding = max(_EPSILON, precision.storage_epsilon / 2) * result.scale
    error = _SAFETY * (result.error + rounding)
    return max(1e-5, error / result.scale), error


def _is_product(stage: Stage) -> bool:
    """Whether a stage may be computed as a matrix product."""
    return stage.reducer == "sum" and isinstance(stage.value, Binary) and stage.value.op == "mul"


def _as_operands(sizes: dict[str, _Size], precision: Precision) -> dict[str, _Size]:
    """Tensors as a matrix product sees them, where that is coarser than they are stored."""
    if precision.dot_epsilon <= precision.storage_epsilon:
        return sizes
    return {
        name: _Size(size.scale, size.error + precision.dot_epsilon * size.scale, size.is_positive)
        for name, size in sizes.items()
    }


def _sum(term: _Size, num_terms: int) -> _Size:
    growth = num_terms if term.is_positive else math.sqrt(num_terms)
    rounding = _EPSILON * math.sqrt(num_terms) * growth * term.scale
    return _Size(term.scale * growth, term.error * growth + rounding, term.is_positive)


def _size(expr: Expr, sizes: dict[str, _Size]) -> _Size:
    if isinstance(expr, Constant):
        # An infinity only marks padding under a maximum; it is no magnitude.
        magnitude = abs(expr.value) if math.isfinite(expr.value) else 1.0
        return _Size(magnitude, _EPSILON * magnitude, expr.value >= 0)
    if isinstance(expr, Load):
        return sizes[expr.buffer]
    if isinstance(expr, Select):
        then, otherwise = _size(expr.then, sizes), _size(expr.otherwise, sizes)
        return _Size(then.scale, then.error, then.is_positive and otherwise.is_positive)
    if isinstance(expr, Unary):
        return _unary(expr, _size(expr.operand, sizes))
    return _binary(expr, _size(expr.left, sizes), _size(expr.right, sizes))


def _unary(expr: Unary, operand: _Size) -> _Size:
    if expr.op in ("neg", "abs"):
        return _Size(operand.scale, operand.error, expr.op == "abs")
    if expr.op in ("tanh", "erf"):
        return _Size(min(operand.scale, 1.0), operand.error + 4 * _EPSILON)
    if expr.op == "exp":
        # Exponents are taken of order one: those of a softmax have their maximum removed.
        return _Size(1.0, operand.error + 8 * _EPSILON, is_positive=True)
    scale = math.sqrt(operand.scale) if expr.op == "sqrt" else 1.0 / operand.scale
    return _Size(scale, scale * (operand.error / operand.scale + _EPSILON), is_positive=True)


def _binary(expr: Binary, left: _Size, right: _Size) -> _Size:
    both_positive = left.is_positive and right.is_positive
    if expr.op in ("max", "min"):
        floor = max if expr.op == "max" else min
        either = left.is_positive or right.is_positive
        scale = floor(left.scale, right.scale) or max(left.scale, right.scale)
        return _Size(scale, max(left.error, right.error), either if expr.op == "max" else both_positive)
    if expr.op in ("add", "sub"):
        scale = max(left.scale, right.scale)
        error = left.error + right.error + _EPSILON * scale
        return _Size(scale, error, both_positive and expr.op == "add")
    is_square = expr.left == expr.right and expr.op == "mul"
    scale = left.scale * right.scale if expr.op == "mul" else left.scale / right.scale
    relative = left.error / left.scale + right.error / right.scale + _EPSILON
    return _Size(scale, scale * relative, both_positive or is_square)
