"""What follows a matmul or a convolution element by element: bias, residual, ReLU."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codegen.ir.affine import variable
from codegen.ir.expression import Axis, Binary, Constant, Expr, Load, Program, Stage, Tensor
from codegen.ops.operator import Arrays, element, operand_array


@dataclass(frozen=True, kw_only=True)
class Epilogue:
    """``max(main + bias + residual, 0)``, each part present or not."""

    bias: bool
    relu: bool
    residual: bool

    @property
    def is_empty(self) -> bool:
        """Whether the main stage's result is the operator's."""
        return not (self.bias or self.relu or self.residual)


def with_epilogue(
    name: str,
    inputs: tuple[Tensor, ...],
    main: Stage,
    epilogue: Epilogue,
    bias_axes: tuple[str, ...],
) -> Program:
    """A program of a main stage (whose output is called ``y`` here) and one elementwise stage after it.

    Args:
        name: name of the program; with an epilogue the main stage's tensor becomes ``y_<name>``.
        inputs: operands of the main stage; those of the epilogue are added.
        main: the stage that reduces.
        epilogue: what follows.
        bias_axes: the axes of the main stage that index the bias.
    """
    if epilogue.is_empty:
        return Program(name, inputs, (main,))
    inner = Tensor(f"y_{name}", main.output.shape)
    extents = {axis.name: axis.extent for axis in main.axes}
    extra: list[Tensor] = []
    value: Expr = _at_axes(inner.name, main.axes)
    if epilogue.bias:
        extra.append(Tensor("bias", tuple(extents[axis] for axis in bias_axes), is_constant=True))
        value = Binary("add", value, element("bias", *bias_axes))
    if epilogue.residual:
        extra.append(Tensor("residual", inner.shape))
        value = Binary("add", value, _at_axes("residual", main.axes))
    if epilogue.relu:
        value = Binary("max", value, Constant(0.0))
    first = Stage(inner, main.axes, main.value, main.reduce_axes, main.reducer)
    last = Stage(Tensor("y", inner.shape), main.axes, value)
    return Program(name, (*inputs, *extra), (first, last))


def apply_epilogue(
    result: NDArray[np.float64], inputs: Arrays, epilogue: Epilogue, channel_dim: int
) -> NDArray[np.float64]:
    """The same on arrays; the bias runs along ``channel_dim`` of the result."""
    if epilogue.bias:
        bias = operand_array(inputs, "bias", (result.shape[channel_dim],))
        shape = [1] * result.ndim
        shape[channel_dim] = -1
        result = result + bias.reshape(shape)
    if epilogue.residual:
        result = result + operand_array(inputs, "residual", result.shape)
    return np.maximum(result, 0.0) if epilogue.relu else result


def epilogue_shapes(
    epilogue: Epilogue, num_channels: int, output: tuple[int, ...]
) -> dict[str, tuple[int, ...]]:
    """User shapes of the epilogue's operands."""
    shapes: dict[str, tuple[int, ...]] = {}
    if epilogue.bias:
        shapes["bias"] = (num_channels,)
    if epilogue.residual:
        shapes["residual"] = output
    return shapes


def _at_axes(buffer: str, axes: tuple[Axis, ...]) -> Load:
    return Load(buffer, tuple(variable(axis.name) for axis in axes))
