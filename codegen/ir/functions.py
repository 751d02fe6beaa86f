"""What the operations of an expression mean, on Python floats and on arrays alike."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from codegen.ir.expression import BinaryOp, Reducer, UnaryOp


def _erf(x: Any) -> Any:
    from scipy.special import erf

    return erf(x)


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
}
"""Maximum and minimum carry NaN along, unlike Python's max and min."""

REDUCERS: dict[Reducer, Callable[[Any, Any], Any]] = {"sum": operator.add, "max": np.maximum}
