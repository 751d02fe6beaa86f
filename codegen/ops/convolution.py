"""Two-dimensional convolution: plain, grouped and depthwise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from codegen.ir.affine import Affine, variable
from codegen.ir.expression import Axis, Constant, Expr, Load, Program, Select, Stage, Tensor
from codegen.ops.epilogue import Epilogue, apply_epilogue, epilogue_shapes, with_epilogue
from codegen.ops.operator import (
    Arrays,
    Pair,
    combine,
    element,
    operand_array,
    require_choice,
    require_flags,
    require_sizes,
)
from codegen.ops.window import Padding, WindowDim, canonical_padding, canonical_pair, window_dims


@dataclass(frozen=True, kw_only=True)
class Conv2d:
    """Cross-correlation of images x with weights w (out channels, in channels / groups, height, width).

    kernel, stride and dilation are one number or (height, width); padding may also be
    (top, left, bottom, right). ``layout`` is that of x, residual and y; w is OIHW in both.

    The program of a grouped convolution splits the channels of w, bias, residual and y into
    (groups, channels per group), a view of the same bytes; depthwise weights are (channels, kh, kw).
    """

    operator_name: ClassVar[str] = "conv2d"

    height: int
    width: int
    in_channels: int
    out_channels: int
    batch: int = 1
    kernel: Pair = 3
    stride: Pair = 1
    padding: Padding = 0
    dilation: Pair = 1
    groups: int = 1
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    bias: bool = False
    relu: bool = False
    residual: bool = False

    def __post_init__(self) -> None:
        require_sizes("conv2d", batch=self.batch, height=self.height, width=self.width, groups=self.groups)
        require_sizes("conv2d", in_channels=self.in_channels, out_channels=self.out_channels)
        require_choice("conv2d", "layout", self.layout, ("NCHW", "NHWC"))
        require_flags("conv2d", bias=self.bias, relu=self.relu, residual=self.residual)
        for name, channels in (("in_channels", self.in_channels), ("out_channels", self.out_channels)):
            if channels % self.groups:
                raise ValueError(f"conv2d: groups must divide {name} {channels}, got {self.groups}")
        for name in ("kernel", "stride", "dilation"):
            object.__setattr__(self, name, canonical_pair("conv2d", name, getattr(self, name)))
        object.__setattr__(self, "padding", canonical_padding("conv2d", self.padding))
        self._windows()

    @property
    def is_depthwise(self) -> bool:
        """Whether each output channel reads one input channel of its own."""
        return 1 < self.groups == self.in_channels == self.out_channels

    def program(self) -> Program:
        """Operands x and w, then bias and residual where asked for."""
        height, width = self._windows()
        channel_axes, reduce_axes, weights = self._channels()
        spatial = (Axis("oh", height.output_size), Axis("ow", width.output_size))
        inner = (*channel_axes, *spatial) if self.layout == "NCHW" else (*spatial, *channel_axes)
        axes = (Axis("n", self.batch), *inner)
        main = Stage(
            output=Tensor("y", tuple(axis.extent for axis in axes)),
            axes=axes,
            value=combine("mul", self._padded_x(height, width), weights),
            reduce_axes=reduce_axes,
            reducer="sum",
        )
        extents = {axis.name: axis.extent for axis in (*channel_axes, *reduce_axes)}
        w_shape = tuple(extents[index.variables[0]] for index in weights.index)
        inputs = (Tensor("x", self.user_shapes()["x"]), Tensor("w", w_shape, is_constant=True))
        bias_axes = tuple(axis.name for axis in channel_axes)
        return with_epilogue("conv2d", inputs, main, self._epilogue, bias_axes)

    def reference(self, inputs: Arrays) -> NDArray[np.float64]:
        """One matrix product per kernel position on a padded copy of x."""
        shapes = self.user_shapes()
        x = operand_array(inputs, "x", shapes["x"])
        x = x if self.layout == "NCHW" else x.transpose(0, 3, 1, 2)
        groups, in_each = self.groups, self.in_channels // self.groups
        w = operand_array(inputs, "w", shapes["w"]).reshape(groups, -1, in_each, *shapes["w"][2:])
        height, width = self._windows()
        x = np.pad(x, ((0, 0), (0, 0), (height.before, height.after), (width.before, width.after)))
        result = np.zeros((self.batch, groups, w.shape[1], height.output_size * width.output_size))
        for kh in range(height.kernel):
            rows = height.positions(kh)
            for kw in range(width.kernel):
                patch = x[:, :, rows, width.positions(kw)]
                result += w[..., kh, kw] @ patch.reshape(self.batch, groups, in_each, -1)
        image = result.reshape(self.batch, self.out_channels, height.output_size, width.output_size)
        image = image if self.layout == "NCHW" else image.transpose(0, 2, 3, 1)
        image = apply_epilogue(image, inputs, self._epilogue, channel_dim=1 if self.layout == "NCHW" else 3)
        return image.reshape(self.program().output.shape)

    def user_shapes(self) -> dict[str, tuple[int, ...]]:
        """Images in the layout asked for, weights OIHW."""
        height, width = self._windows()
        output = self._image(self.out_channels, height.output_size, width.output_size)
        return {
            "x": self._image(self.in_channels, self.height, self.width),
            "w": (self.out_channels, self.in_channels // self.groups, height.kernel, width.kernel),
            **epilogue_shapes(self._epilogue, self.out_channels, output),
            "y": output,
        }

    @property
    def flops(self) -> int:
        """See ``Operator``."""
        return self.program().flops

    def _channels(self) -> tuple[tuple[Axis, ...], tuple[Axis, ...], Load]:
        """Output channel axes, reduction axes, and the load of w."""
        height, width = self._windows()
        window = (Axis("kh", height.kernel), Axis("kw", width.kernel))
        if self.is_depthwise:
            return (Axis("c", self.out_channels),), window, element("w", "c", "kh", "kw")
        reduce_axes = (Axis("ic", self.in_channels // self.groups), *window)
        if self.groups == 1:
            return (Axis("oc", self.out_channels),), reduce_axes, element("w", "oc", "ic", "kh", "kw")
        channels = (Axis("g", self.groups), Axis("oc", self.out_channels // self.groups))
        return channels, reduce_axes, element("w", "g", "oc", "ic", "kh", "kw")

    def _padded_x(self, height: WindowDim, width: WindowDim) -> Expr:
        conditions = (*height.conditions, *width.conditions)
        spatial = (height.index, width.index)
        channel = (self._input_channel(),)
        inner = (*channel, *spatial) if self.layout == "NCHW" else (*spatial, *channel)
        load = element("x", "n", *inner)
        return Select(conditions, load, Constant(0.0)) if conditions else load

    def _input_channel(self) -> Affine:
        if self.is_depthwise:
            return variable("c")
        if self.groups == 1:
            return variable("ic")
        return variable("g") * (self.in_channels // self.groups) + variable("ic")

    def _image(self, channels: int, height: int, width: int) -> tuple[int, int, int, int]:
        if self.layout == "NCHW":
            return (self.batch, channels, height, width)
        return (self.batch, height, width, channels)

    def _windows(self) -> tuple[WindowDim, WindowDim]:
        return window_dims(
            "conv2d",
            size=(self.height, self.width),
            kernel=self.kernel,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
        )

    @property
    def _epilogue(self) -> Epilogue:
        return Epilogue(bias=self.bias, relu=self.relu, residual=self.residual)
