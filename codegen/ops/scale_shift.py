"""One factor and one offset per channel, as batch normalisation is at inference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from codegen.ir.expression import Axis, Constant, Expr, Program, Stage, Tensor
from codegen.ops.operator import Arrays, combine, element, operand_array, require_flags, require_sizes


@dataclass(frozen=True, kw_only=True)
class ScaleShift:
    """``x[n, c, p] * scale[c] + shift[c]``, then perhaps ReLU; scale and shift are constants.

    ``size`` counts the elements of a channel.
    """

    operator_name: ClassVar[str] = "scale_shift"

    channels: int
    size: int
    batch: int = 1
    relu: bool = False

    def __post_init__(self) -> None:
        require_sizes("scale_shift", batch=self.batch, channels=self.channels, size=self.size)
        require_flags("scale_shift", relu=self.relu)

    def program(self) -> Program:
        """Operands x (batch, channels, size), scale (channels), shift (channels)."""
        axes = (Axis("n", self.batch), Axis("c", self.channels), Axis("p", self.size))
        shape = tuple(axis.extent for axis in axes)
        scaled = combine("mul", element("x", "n", "c", "p"), element("scale", "c"))
        value: Expr = combine("add", scaled, element("shift", "c"))
        value = combine("max", value, Constant(0.0)) if self.relu else value
        constants = tuple(Tensor(name, (self.channels,), is_constant=True) for name in ("scale", "shift"))
        return Program(
            "scale_shift", (Tensor("x", shape), *constants), (Stage(Tensor("y", shape), axes, value),)
        )

    def reference(self, inputs: Arrays) -> NDArray[np.float64]:
        """By NumPy's broadcasting."""
        x = operand_array(inputs, "x", (self.batch, self.channels, self.size))
        scale = operand_array(inputs, "scale", (self.channels,))[:, None]
        y = x * scale + operand_array(inputs, "shift", (self.channels,))[:, None]
        return np.where(y > 0.0, y, 0.0) if self.relu else y

    def user_shapes(self) -> dict[str, tuple[int, ...]]:
        """The program's own shapes; ``size`` is height times width of an image."""
        shape, row = (self.batch, self.channels, self.size), (self.channels,)
        return {"x": shape, "scale": row, "shift": row, "y": shape}

    @property
    def flops(self) -> int:
        """See ``Operator``."""
        return self.program().flops
