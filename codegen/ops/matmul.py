"""Matrix multiplication."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from codegen.ir.expression import Axis, Program, Stage, Tensor
from codegen.ops.epilogue import Epilogue, apply_epilogue, epilogue_shapes, with_epilogue
from codegen.ops.operator import Arrays, combine, element, operand_array, require_flags, require_sizes


@dataclass(frozen=True, kw_only=True)
class Matmul:
    """``y[m, n] = sum over k of a[m, k] * b[k, n]``, for each matrix of a batch.

    ``transpose_a`` says that a is stored (k, m), ``transpose_b`` that b is stored (n, k). With a batch
    of 1 the operands are matrices and b is a constant (weights); else both have a leading dimension
    and neither is constant.
    """

    operator_name: ClassVar[str] = "matmul"

    m: int
    k: int
    n: int
    batch: int = 1
    transpose_a: bool = False
    transpose_b: bool = False
    bias: bool = False
    relu: bool = False
    residual: bool = False

    def __post_init__(self) -> None:
        require_sizes("matmul", m=self.m, k=self.k, n=self.n, batch=self.batch)
        require_flags("matmul", transpose_a=self.transpose_a, transpose_b=self.transpose_b)
        require_flags("matmul", bias=self.bias, relu=self.relu, residual=self.residual)

    def program(self) -> Program:
        """Operands a and b, then bias (n) and residual (like y) where asked for."""
        shapes = self.user_shapes()
        lead = ("batch",) if self.batch > 1 else ()
        a = element("a", *lead, *(("k", "m") if self.transpose_a else ("m", "k")))
        b = element("b", *lead, *(("n", "k") if self.transpose_b else ("k", "n")))
        extents = {"batch": self.batch, "m": self.m, "n": self.n}
        main = Stage(
            output=Tensor("y", shapes["y"]),
            axes=tuple(Axis(name, extents[name]) for name in (*lead, "m", "n")),
            value=combine("mul", a, b),
            reduce_axes=(Axis("k", self.k),),
            reducer="sum",
        )
        inputs = (Tensor("a", shapes["a"]), Tensor("b", shapes["b"], is_constant=self.batch == 1))
        return with_epilogue("matmul", inputs, main, self._epilogue, ("n",))

    def reference(self, inputs: Arrays) -> NDArray[np.float64]:
        """By NumPy's own matrix product."""
        shapes = self.user_shapes()
        a = operand_array(inputs, "a", shapes["a"])
        b = operand_array(inputs, "b", shapes["b"])
        a = a.swapaxes(-1, -2) if self.transpose_a else a
        b = b.swapaxes(-1, -2) if self.transpose_b else b
        return apply_epilogue(a @ b, inputs, self._epilogue, channel_dim=-1)

    def user_shapes(self) -> dict[str, tuple[int, ...]]:
        """The program's own shapes."""
        lead = (self.batch,) if self.batch > 1 else ()
        output = (*lead, self.m, self.n)
        return {
            "a": (*lead, *((self.k, self.m) if self.transpose_a else (self.m, self.k))),
            "b": (*lead, *((self.n, self.k) if self.transpose_b else (self.k, self.n))),
            **epilogue_shapes(self._epilogue, self.n, output),
            "y": output,
        }

    @property
    def flops(self) -> int:
        """See ``Operator``."""
        return self.program().flops

    @property
    def _epilogue(self) -> Epilogue:
        return Epilogue(bias=self.bias, relu=self.relu, residual=self.residual)
