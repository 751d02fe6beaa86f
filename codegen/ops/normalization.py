"""Softmax and layer normalisation of the rows of a matrix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from codegen.ir.expression import Axis, Binary, Constant, Program, Stage, Tensor, Unary
from codegen.ops.operator import Arrays, combine, element, operand_array, require_sizes


@dataclass(frozen=True, kw_only=True)
class Softmax:
    """``exp(x) / sum of exp(x)`` along each row, with the row's maximum taken off first."""

    operator_name: ClassVar[str] = "softmax"

    rows: int
    cols: int

    def __post_init__(self) -> None:
        require_sizes("softmax", rows=self.rows, cols=self.cols)

    def program(self) -> Program:
        """Operand x (rows, cols)."""
        r, c = (Axis("r", self.rows),), (Axis("c", self.cols),)
        shape, row_shape = (self.rows, self.cols), (self.rows,)
        shifted = combine("sub", element("x", "r", "c"), element("row_max", "r"))
        quotient = combine("div", element("y_exp", "r", "c"), element("row_sum", "r"))
        stages = (
            Stage(Tensor("row_max", row_shape), r, element("x", "r", "c"), c, "max"),
            Stage(Tensor("y_exp", shape), (*r, *c), Unary("exp", shifted)),
            Stage(Tensor("row_sum", row_shape), r, element("y_exp", "r", "c"), c, "sum"),
            Stage(Tensor("y", shape), (*r, *c), quotient),
        )
        return Program("softmax", (Tensor("x", shape),), stages)

    def reference(self, inputs: Arrays) -> NDArray[np.float64]:
        """The same formula in float64."""
        x = operand_array(inputs, "x", (self.rows, self.cols))
        powers = np.exp(x - x.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))

    def user_shapes(self) -> dict[str, tuple[int, ...]]:
        """The program's own shapes."""
        return {"x": (self.rows, self.cols), "y": (self.rows, self.cols)}

    @property
    def flops(self) -> int:
        """See ``Operator``."""
        return self.program().flops


@dataclass(frozen=True, kw_only=True)
class LayerNorm:
    """``(x - mean) / sqrt(variance + eps) * scale + bias`` along each row; scale and bias are constants."""

    operator_name: ClassVar[str] = "layer_norm"

    rows: int
    cols: int
    eps: float = 1e-5

    def __post_init__(self) -> None:
        require_sizes("layer_norm", rows=self.rows, cols=self.cols)
        if isinstance(self.eps, bool) or not isinstance(self.eps, (int, float)) or not 0 < self.eps < 1:
            raise ValueError(f"layer_norm: eps must be a number between 0 and 1, got {self.eps!r}")

    def program(self) -> Program:
        """Operands x (rows, cols), scale (cols), bias (cols)."""
        r, c = (Axis("r", self.rows),), (Axis("c", self.cols),)
        shape, row_shape = (self.rows, self.cols), (self.rows,)
        per_col = Constant(1.0 / self.cols)
        mean = combine("mul", element("row_sum", "r"), per_col)
        centred = element("y_centred", "r", "c")
        variance = combine("mul", element("square_sum", "r"), per_col)
        deviation = Unary("sqrt", combine("add", variance, Constant(float(self.eps))))
        scaled = combine("mul", Binary("div", centred, deviation), element("scale", "c"))
        stages = (
            Stage(Tensor("row_sum", row_shape), r, element("x", "r", "c"), c, "sum"),
            Stage(Tensor("y_centred", shape), (*r, *c), combine("sub", element("x", "r", "c"), mean)),
            Stage(Tensor("square_sum", row_shape), r, combine("mul", centred, centred), c, "sum"),
            Stage(Tensor("y", shape), (*r, *c), combine("add", scaled, element("bias", "c"))),
        )
        inputs = (
            Tensor("x", shape),
            Tensor("scale", (self.cols,), is_constant=True),
            Tensor("bias", (self.cols,), is_constant=True),
        )
        return Program("layer_norm", inputs, stages)

    def reference(self, inputs: Arrays) -> NDArray[np.float64]:
        """By NumPy's mean and variance."""
        x = operand_array(inputs, "x", (self.rows, self.cols))
        scale = operand_array(inputs, "scale", (self.cols,))
        bias = operand_array(inputs, "bias", (self.cols,))
        normal = (x - x.mean(axis=1, keepdims=True)) / np.sqrt(x.var(axis=1, keepdims=True) + self.eps)
        return np.asarray(normal * scale + bias)

    def user_shapes(self) -> dict[str, tuple[int, ...]]:
        """The program's own shapes."""
        matrix, row = (self.rows, self.cols), (self.cols,)
        return {"x": matrix, "scale": row, "bias": row, "y": matrix}

    @property
    def flops(self) -> int:
        """See ``Operator``."""
        return self.program().flops
