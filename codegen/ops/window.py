"""Sliding windows: sizes, strides and padding of convolutions and pooling."""

from __future__ import annotations

from dataclasses import dataclass

from codegen.ir.affine import Affine, variable
from codegen.ir.expression import InRange
from codegen.ops.operator import Pair, read_numbers

Padding = int | tuple[int, int] | tuple[int, int, int, int]
"""One number, (height, width), or (top, left, bottom, right)."""


@dataclass(frozen=True)
class WindowDim:
    """One dimension of a sliding window: element ``kernel_axis`` of window ``output_axis``."""

    output_axis: str
    kernel_axis: str
    size: int
    kernel: int
    stride: int
    dilation: int
    before: int
    after: int

    @property
    def output_size(self) -> int:
        """Number of windows; less than 1 when the kernel is larger than the padded input."""
        return (
            self.size + self.before + self.after - self.dilation * (self.kernel - 1) - 1
        ) // self.stride + 1

    @property
    def index(self) -> Affine:
        """Position in the input, which padding may put outside."""
        return (
            variable(self.output_axis) * self.stride
            + variable(self.kernel_axis) * self.dilation
            - self.before
        )

    @property
    def conditions(self) -> tuple[InRange, ...]:
        """That the position is inside the input; nothing when it always is."""
        last = (self.output_size - 1) * self.stride + (self.kernel - 1) * self.dilation - self.before
        is_inside = self.before == 0 and last < self.size
        return () if is_inside else (InRange(self.index, 0, self.size),)

    def positions(self, kernel_position: int) -> slice:
        """The elements of the padded input that one kernel position meets, one per window."""
        start = kernel_position * self.dilation
        return slice(start, start + (self.output_size - 1) * self.stride + 1, self.stride)


def window_dims(
    operator: str,
    *,
    size: tuple[int, int],
    kernel: Pair,
    stride: Pair,
    padding: Padding,
    dilation: Pair = 1,
) -> tuple[WindowDim, WindowDim]:
    """The dimensions (oh, kh) and (ow, kw); ValueError when the kernel does not fit the padded input."""
    kernels = read_numbers(operator, "kernel", kernel, (2,), 1)
    strides = read_numbers(operator, "stride", stride, (2,), 1)
    dilations = read_numbers(operator, "dilation", dilation, (2,), 1)
    read_numbers(operator, "padding", padding, (2, 4), 0)
    pads = four_sides(padding)
    height, width = (
        WindowDim(axes[0], axes[1], size[d], kernels[d], strides[d], dilations[d], pads[d], pads[d + 2])
        for d, axes in enumerate((("oh", "kh"), ("ow", "kw")))
    )
    for name, dim in (("height", height), ("width", width)):
        if dim.output_size < 1:
            raise ValueError(
                f"{operator}: kernel {dim.kernel} (dilation {dim.dilation}) is larger than the padded "
                f"{name} {dim.size + dim.before + dim.after}"
            )
    return height, width


def both_dimensions(value: Pair) -> tuple[int, int]:
    """A canonical kernel, stride or dilation as (height, width)."""
    return (value, value) if isinstance(value, int) else value


def four_sides(padding: Padding) -> tuple[int, int, int, int]:
    """A canonical padding as (top, left, bottom, right)."""
    height, width, *after = (padding, padding) if isinstance(padding, int) else padding
    bottom, right = after or (height, width)
    return height, width, bottom, right


def canonical_pair(operator: str, name: str, value: object, least: int = 1) -> Pair:
    """The int when both numbers are equal, else a tuple, so that equal operators compare equal."""
    height, width = read_numbers(operator, name, value, (2,), least)
    return height if height == width else (height, width)


def canonical_padding(operator: str, value: object) -> Padding:
    """The shortest form of a padding."""
    numbers = read_numbers(operator, "padding", value, (2, 4), 0)
    if len(numbers) == 4 and numbers[:2] != numbers[2:]:
        return (numbers[0], numbers[1], numbers[2], numbers[3])
    return numbers[0] if numbers[0] == numbers[1] else (numbers[0], numbers[1])
