"""Reduction of rows, and transposition."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from codegen.ir.expression import Axis, Constant, Program, Stage, Tensor
from codegen.ops.operator import (
    Arrays,
    combine,
    element,
    operand_array,
    require_choice,
    require_sizes,
)

ReduceKind: TypeAlias = Literal["sum", "max", "mean"]


@dataclass(frozen=True, kw_only=True)
class Reduce:
    """Sum, greatest element or mean of each row of x."""

    operator_name: ClassVar[str] = "reduce"

    rows: int
    cols: int
    kind: ReduceKind = "sum"

    def __post_init__(self) -> None:
        require_sizes("reduce", rows=self.rows, cols=self.cols)
        require_choice("reduce", "kind", self.kind, ("sum", "max", "mean"))

    def program(self) -> Program:
        """Operand x (rows, cols); y is (rows)."""
        axes, columns = (Axis("r", self.rows),), (Axis("c", self.cols),)
        x, y = Tensor("x", (self.rows, self.cols)), Tensor("y", (self.rows,))
        load = element("x", "r", "c")
        if self.kind != "mean":
            return Program("reduce", (x,), (Stage(y, axes, load, columns, self.kind),))
        total = Stage(Tensor("y_sum", y.shape), axes, load, columns, "sum")
        mean = combine("mul", element("y_sum", "r"), Constant(1.0 / self.cols))
        return Program("reduce", (x,), (total, Stage(y, axes, mean)))

    def reference(self, inputs: Arrays) -> NDArray[np.float64]:
        """By the NumPy methods of these names."""
        x = operand_array(inputs, "x", (self.rows, self.cols))
        if self.kind == "max":
            return np.asarray(x.max(axis=1))
        return np.asarray(x.sum(axis=1) if self.kind == "sum" else x.mean(axis=1))

    def user_shapes(self) -> dict[str, tuple[int, ...]]:
        """The program's own shapes."""
        return {"x": (self.rows, self.cols), "y": (self.rows,)}

    @property
    def flops(self) -> int:
        """See ``Operator``."""
        return self.program().flops


@dataclass(frozen=True, kw_only=True)
class Transpose:
    """``y[c, r] = x[r, c]``."""

    operator_name: ClassVar[str] = "transpose"

    rows: int
    cols: int

    def __post_init__(self) -> None:
        require_sizes("transpose", rows=self.rows, cols=self.cols)

    def program(self) -> Program:
        """Operand x (rows, cols); y is (cols, rows)."""
        axes = (Axis("c", self.cols), Axis("r", self.rows))
        stage = Stage(Tensor("y", (self.cols, self.rows)), axes, element("x", "r", "c"))
        return Program("transpose", (Tensor("x", (self.rows, self.cols)),), (stage,))

    def reference(self, inputs: Arrays) -> NDArray[np.float64]:
        """NumPy's transposed copy."""
        return operand_array(inputs, "x", (self.rows, self.cols)).T.copy()

    def user_shapes(self) -> dict[str, tuple[int, ...]]:
        """The program's own shapes."""
        return {"x": (self.rows, self.cols), "y": (self.cols, self.rows)}

    @property
    def flops(self) -> int:
        """0: nothing is computed."""
        return self.program().flops
