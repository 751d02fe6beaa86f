"""What the operations of an expression mean, on Python floats and on arrays alike."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from codegen.ir.expression import BinaryOp, Reducer, UnaryOp
from codegen.precision import rounded


def _erf(x: Any) -> Any:
    from scipy.special import erf

    return erf(x)


def _pair(low: Any, high: Any) -> complex:
    """Two numbers in one place, as the interpreter can hold them."""
    numbers = rounded(np.array([low, high], dtype=np.float32), "bfloat16")
    return complex(*numbers.tolist())


def _dot_pairs(left: complex, right: complex) -> float:
    """Zero stands for a pair of zeros."""
    return left.real * right.real + left.imag * right.imag


UNARY: dict[UnaryOp, Callable[[Any], Any]] = {
    "exp": np.exp,
    "neg": operator.neg,
    "sqrt": np.sqrt,
    "tanh": np.tanh,
    "erf": _erf,
    "abs": abs,
    "reciprocal": lambda x: np.divide(1.0, x),
}

BINARY: dict[BinaryOp, Callable[[Any, Any], Any]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "div": np.divide,
    "max": np.maximum,
    "min": np.minimum,
    "pair": _pair,
    "dot_pairs": _dot_pairs,
}
"""Maximum and minimum carry NaN along, unlike Python's max and min."""

REDUCERS: dict[Reducer, Callable[[Any, Any], Any]] = {"sum": operator.add, "max": np.maximum}
