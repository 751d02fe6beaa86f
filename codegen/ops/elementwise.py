"""Chains of operations on each element."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

from codegen.ir.expression import Axis, Binary, BinaryOp, Constant, Expr, Program, Stage, Tensor, Unary
from codegen.ops.operator import Arrays, element, operand_array, read_numbers

_Array: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Elementwise:
    """``ops`` applied one after another to x, such as ("add", "relu") or ("gelu",).

    An operation of two operands takes the next of the tensors x1, x2, ..., which have x's shape. The
    program sees every tensor as one dimension.
    """

    operator_name: ClassVar[str] = "elementwise"

    shape: tuple[int, ...]
    ops: tuple[str, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", _read_shape(self.shape))
        object.__setattr__(self, "ops", _read_ops(self.ops))

    def program(self) -> Program:
        """Operands x, x1, x2, ... as many as the chain takes."""
        size = math.prod(self.shape)
        value: Expr = element("x", "i")
        inputs = [Tensor("x", (size,))]
        for op in self.ops:
            if op in BINARY_OPS:
                inputs.append(Tensor(f"x{len(inputs)}", (size,)))
                value = Binary(BINARY_OPS[op][0], value, element(inputs[-1].name, "i"))
            else:
                value = UNARY_OPS[op][0](value)
        stage = Stage(Tensor("y", (size,)), (Axis("i", size),), value)
        return Program("elementwise", tuple(inputs), (stage,))

    def reference(self, inputs: Arrays) -> _Array:
        """The NumPy functions of the same meaning."""
        size = (math.prod(self.shape),)
        value = operand_array(inputs, "x", size)
        num_used = 0
        for op in self.ops:
            if op in BINARY_OPS:
                num_used += 1
                value = BINARY_OPS[op][1](value, operand_array(inputs, f"x{num_used}", size))
            else:
                value = UNARY_OPS[op][1](value)
        return value

    def user_shapes(self) -> dict[str, tuple[int, ...]]:
        """All alike."""
        return dict.fromkeys((*(tensor.name for tensor in self.program().inputs), "y"), self.shape)

    @property
    def flops(self) -> int:
        """See ``Operator``."""
        return self.program().flops


def _read_shape(shape: object) -> tuple[int, ...]:
    num_dims = len(shape) if isinstance(shape, Sequence) and not isinstance(shape, str) else 1
    if num_dims == 0:
        raise ValueError("elementwise: shape must have at least one size, got none")
    return read_numbers("elementwise", "shape", shape, (num_dims,), 1)


def _read_ops(ops: object) -> tuple[str, ...]:
    names = tuple(ops) if isinstance(ops, Sequence) and not isinstance(ops, str) else (ops,)
    allowed = (*BINARY_OPS, *UNARY_OPS)
    known = tuple(name for name in names if isinstance(name, str) and name in allowed)
    if not names or len(known) != len(names):
        raise ValueError(f"elementwise: ops must be some of {', '.join(allowed)}, got {ops!r}")
    return known


def _relu(x: Expr) -> Expr:
    return Binary("max", x, Constant(0.0))


def _relu6(x: Expr) -> Expr:
    return Binary("min", _relu(x), Constant(6.0))


def _square(x: Expr) -> Expr:
    return Binary("mul", x, x)


def _sigmoid(x: Expr) -> Expr:
    return Unary("reciprocal", Binary("add", Unary("exp", Unary("neg", x)), Constant(1.0)))


def _silu(x: Expr) -> Expr:
    return Binary("mul", x, _sigmoid(x))


def _gelu(x: Expr) -> Expr:
    """The exact form, with erf."""
    half = Binary("mul", x, Constant(0.5))
    inner = Unary("erf", Binary("mul", x, Constant(math.sqrt(0.5))))
    return Binary("mul", half, Binary("add", inner, Constant(1.0)))


def _gelu_tanh(x: Expr) -> Expr:
    """The approximation by Hendrycks and Gimpel (arXiv:1606.08415)."""
    cubic = Binary("mul", Binary("add", Binary("mul", _square(x), Constant(0.044715)), Constant(1.0)), x)
    inner = Unary("tanh", Binary("mul", cubic, Constant(math.sqrt(2.0 / math.pi))))
    return Binary("mul", Binary("mul", x, Constant(0.5)), Binary("add", inner, Constant(1.0)))


def _hard_sigmoid(x: Expr) -> Expr:
    """``clip(x / 6 + 1 / 2, 0, 1)``."""
    line = Binary("add", Binary("mul", x, Constant(1.0 / 6.0)), Constant(0.5))
    return Binary("min", _relu(line), Constant(1.0))


def _hard_swish(x: Expr) -> Expr:
    return Binary("mul", x, _hard_sigmoid(x))


def _reference_erf(x: _Array) -> _Array:
    from scipy.special import erf

    return np.asarray(erf(x))


def _reference_sigmoid(x: _Array) -> _Array:
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * x)))


def _reference_gelu_tanh(x: _Array) -> _Array:
    return np.asarray(0.5 * x * (1.0 + np.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3))))


UNARY_OPS: dict[str, tuple[Callable[[Expr], Expr], Callable[[_Array], _Array]]] = {
    "relu": (_relu, lambda x: np.where(x > 0.0, x, 0.0)),
    "relu6": (_relu6, lambda x: np.clip(x, 0.0, 6.0)),
    "neg": (lambda x: Unary("neg", x), np.negative),
    "abs": (lambda x: Unary("abs", x), np.abs),
    "square": (_square, np.square),
    "exp": (lambda x: Unary("exp", x), np.exp),
    "tanh": (lambda x: Unary("tanh", x), np.tanh),
    "erf": (lambda x: Unary("erf", x), _reference_erf),
    "sigmoid": (_sigmoid, _reference_sigmoid),
    "silu": (_silu, lambda x: x * _reference_sigmoid(x)),
    "gelu": (_gelu, lambda x: 0.5 * x * (1.0 + _reference_erf(x / math.sqrt(2.0)))),
    "gelu_tanh": (_gelu_tanh, _reference_gelu_tanh),
    "hard_sigmoid": (_hard_sigmoid, lambda x: np.clip(x / 6.0 + 0.5, 0.0, 1.0)),
    "hard_swish": (_hard_swish, lambda x: x * np.clip(x + 3.0, 0.0, 6.0) / 6.0),
}
"""Operations of one operand: as an expression, and in NumPy. Square roots and quotients are left out
because they have no value, or no stable one, on some inputs."""

BINARY_OPS: dict[str, tuple[BinaryOp, Callable[[_Array, _Array], _Array]]] = {
    "add": ("add", np.add),
    "sub": ("sub", np.subtract),
    "mul": ("mul", np.multiply),
    "max": ("max", np.maximum),
    "min": ("min", np.minimum),
}
"""Operations of two operands."""
