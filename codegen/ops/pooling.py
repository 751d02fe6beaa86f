"""Pooling over windows and over whole images."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from codegen.ir.affine import Affine
from codegen.ir.expression import Axis, Constant, Expr, InRange, Program, Select, Stage, Tensor
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
class Pool2d:
    """Greatest or mean element of each window of the images x (NCHW).

    Padding never wins a maximum. It counts in a mean only with ``count_include_pad``; each window must
    meet the image.
    """

    operator_name: ClassVar[str] = "pool2d"

    height: int
    width: int
    channels: int
    batch: int = 1
    kernel: Pair = 2
    stride: Pair = 2
    padding: Padding = 0
    kind: Literal["max", "average"] = "max"
    count_include_pad: bool = False

    def __post_init__(self) -> None:
        require_sizes(
            "pool2d", batch=self.batch, channels=self.channels, height=self.height, width=self.width
        )
        require_choice("pool2d", "kind", self.kind, ("max", "average"))
        require_flags("pool2d", count_include_pad=self.count_include_pad)
        for name in ("kernel", "stride"):
            object.__setattr__(self, name, canonical_pair("pool2d", name, getattr(self, name)))
        object.__setattr__(self, "padding", canonical_padding("pool2d", self.padding))
        for dim in self._windows():
            if dim.before >= dim.kernel or (dim.output_size - 1) * dim.stride - dim.before >= dim.size:
                raise ValueError(f"pool2d: padding {self.padding} leaves windows outside the image")

    def program(self) -> Program:
        """One operand, x."""
        height, width = self._windows()
        axes = (
            Axis("n", self.batch),
            Axis("c", self.channels),
            Axis("oh", height.output_size),
            Axis("ow", width.output_size),
        )
        window = (Axis("kh", height.kernel), Axis("kw", width.kernel))
        shape = tuple(axis.extent for axis in axes)
        x = Tensor("x", (self.batch, self.channels, self.height, self.width))
        load: Expr = element("x", "n", "c", height.index, width.index)
        conditions = (*height.conditions, *width.conditions)
        if self.kind == "max":
            value = Select(conditions, load, Constant(-np.inf)) if conditions else load
            return Program("pool2d", (x,), (Stage(Tensor("y", shape), axes, value, window, "max"),))
        value = Select(conditions, load, Constant(0.0)) if conditions else load
        total = Stage(Tensor("y_sum", shape), axes, value, window, "sum")
        mean = element("y_sum", "n", "c", "oh", "ow")
        if not conditions or self.count_include_pad:
            scale = Constant(1.0 / (height.kernel * width.kernel))
            return Program(
                "pool2d", (x,), (total, Stage(Tensor("y", shape), axes, combine("mul", mean, scale)))
            )
        quotient = combine("div", mean, combine("mul", _num_inside(height), _num_inside(width)))
        return Program("pool2d", (x,), (total, Stage(Tensor("y", shape), axes, quotient)))

    def reference(self, inputs: Arrays) -> NDArray[np.float64]:
        """One slice of a padded copy per kernel position, taken in one after another."""
        x = operand_array(inputs, "x", self.user_shapes()["x"])
        height, width = self._windows()
        margins = ((0, 0), (0, 0), (height.before, height.after), (width.before, width.after))
        padded = np.pad(x, margins, constant_values=-np.inf if self.kind == "max" else 0.0)
        is_real = np.pad(np.ones_like(x), margins, constant_values=float(self.count_include_pad))
        spots = [
            (slice(None), slice(None), height.positions(kh), width.positions(kw))
            for kh in range(height.kernel)
            for kw in range(width.kernel)
        ]
        if self.kind == "max":
            return reduce(np.maximum, (padded[spot] for spot in spots))
        total = sum(padded[spot] for spot in spots)
        return np.asarray(total / sum(is_real[spot] for spot in spots))

    def user_shapes(self) -> dict[str, tuple[int, ...]]:
        """NCHW, as in the program."""
        height, width = self._windows()
        lead = (self.batch, self.channels)
        return {"x": (*lead, self.height, self.width), "y": (*lead, height.output_size, width.output_size)}

    @property
    def flops(self) -> int:
        """See ``Operator``."""
        return self.program().flops

    def _windows(self) -> tuple[WindowDim, WindowDim]:
        size = (self.height, self.width)
        return window_dims("pool2d", size=size, kernel=self.kernel, stride=self.stride, padding=self.padding)


def _num_inside(dim: WindowDim) -> Expr:
    """How many elements of a window meet the image: one 0 or 1 per position where padding matters."""
    if not dim.conditions:
        return Constant(float(dim.kernel))
    one, zero = Constant(1.0), Constant(0.0)
    terms: list[Expr] = []
    for position in range(dim.kernel):
        first = position * dim.dilation - dim.before
        is_inside = first >= 0 and first + (dim.output_size - 1) * dim.stride < dim.size
        index = dim.index.substitute({dim.kernel_axis: Affine((), position)})
        terms.append(one if is_inside else Select((InRange(index, 0, dim.size),), one, zero))
    return combine("add", *terms)


@dataclass(frozen=True, kw_only=True)
class GlobalAveragePool:
    """Mean of each channel of the images x (NCHW); the program sees an image as one dimension."""

    operator_name: ClassVar[str] = "global_average_pool"

    channels: int
    height: int
    width: int
    batch: int = 1

    def __post_init__(self) -> None:
        require_sizes("global_average_pool", batch=self.batch, channels=self.channels)
        require_sizes("global_average_pool", height=self.height, width=self.width)

    def program(self) -> Program:
        """One operand, x (batch, channels, height * width); y is (batch, channels)."""
        axes = (Axis("n", self.batch), Axis("c", self.channels))
        shape, size = (self.batch, self.channels), self.height * self.width
        pixels = (Axis("p", size),)
        total = Stage(Tensor("y_sum", shape), axes, element("x", "n", "c", "p"), pixels, "sum")
        mean = combine("mul", element("y_sum", "n", "c"), Constant(1.0 / size))
        stages = (total, Stage(Tensor("y", shape), axes, mean))
        return Program("global_average_pool", (Tensor("x", (*shape, size)),), stages)

    def reference(self, inputs: Arrays) -> NDArray[np.float64]:
        """NumPy's mean."""
        x = operand_array(inputs, "x", self.user_shapes()["x"])
        return np.asarray(x.mean(axis=(2, 3)))

    def user_shapes(self) -> dict[str, tuple[int, ...]]:
        """NCHW; y keeps two dimensions of size 1, as in ONNX."""
        lead = (self.batch, self.channels)
        return {"x": (*lead, self.height, self.width), "y": (*lead, 1, 1)}

    @property
    def flops(self) -> int:
        """See ``Operator``."""
        return self.program().flops
