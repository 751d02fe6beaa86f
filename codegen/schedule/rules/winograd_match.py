"""Which programs are convolutions that Winograd's minimal filtering computes."""

from __future__ import annotations

from dataclasses import dataclass

from codegen.ir.affine import Affine, variable
from codegen.ir.expression import Axis, Binary, Constant, InRange, Load, Program, Select
from codegen.schedule.rules.contraction import Contraction, match
from codegen.schedule.rules.winograd_matrices import KERNEL
from codegen.target import Target

MIN_CHANNELS = 8
"""With fewer of them the transforms cost more than the products save."""


@dataclass(frozen=True)
class Convolution:
    """A dense 3 x 3 convolution of stride 1 by its axes.

    ``batch`` is None where there is one image. ``places`` are the dimensions of x that hold channels, rows
    and columns; ``padding`` is (top, left).
    """

    contraction: Contraction
    batch: Axis | None
    channel: Axis
    row: Axis
    column: Axis
    in_channel: Axis
    image: Load
    kernel: Load
    places: tuple[int, int, int]
    padding: tuple[int, int]

    @property
    def is_channels_last(self) -> bool:
        """Whether neighbours in memory are channels (NHWC)."""
        return self.contraction.stage.axes[-1].name == self.channel.name


def match_convolution(program: Program, target: Target) -> Convolution | None:
    """The program as a convolution with constant weights, or None."""
    contraction = match(program, target)
    operands = contraction and _operands(contraction)
    if not contraction or not operands:
        return None
    image, kernel = operands
    stage = contraction.stage
    axes = {axis.name: axis for axis in (*stage.axes, *stage.reduce_axes)}
    names = [index.variables[0] for index in kernel.index if _is_plain(index)]
    if len(names) != 4 or {axis.name for axis in stage.reduce_axes} != set(names[1:]):
        return None
    channel, in_channel, *window = (axes[name] for name in names)
    if any(axis.extent != KERNEL for axis in window) or min(in_channel.extent, channel.extent) < MIN_CHANNELS:
        return None
    places = [d for d, index in enumerate(image.index) if index == variable(in_channel.name)]
    slides = [slide for axis in window if (slide := _slide(image, axis.name))]
    if len(places) != 1 or len(slides) != 2:
        return None
    (row_place, row, top), (column_place, column, left) = slides
    others = [axis for axis in stage.axes if axis.name not in (channel.name, row, column)]
    rest = [index for d, index in enumerate(image.index) if d not in (places[0], row_place, column_place)]
    if len(others) > 1 or rest != [variable(axis.name) for axis in others] or channel.name in (row, column):
        return None
    place = (places[0], row_place, column_place)
    batch = others[0] if others else None
    return Convolution(
        contraction, batch, channel, axes[row], axes[column], in_channel, image, kernel, place, (top, left)
    )


def _operands(contraction: Contraction) -> tuple[Load, Load] | None:
    """The reads of image and weights, whose products are summed; outside the image there are zeros."""
    value = contraction.stage.value
    if contraction.stage.reducer != "sum" or not isinstance(value, Binary) or value.op != "mul":
        return None
    image, kernel = value.left, value.right
    if isinstance(image, Select) and isinstance(image.then, Load) and image.otherwise == Constant(0.0):
        shape = contraction.program.tensors[image.then.buffer].shape
        inside = {InRange(index, 0, size) for index, size in zip(image.then.index, shape, strict=True)}
        image = image.then if set(image.conditions) <= inside else image
    if not isinstance(image, Load) or not isinstance(kernel, Load):
        return None
    is_weight = contraction.is_constant(kernel.buffer) and not contraction.is_constant(image.buffer)
    return (image, kernel) if is_weight else None


def _slide(image: Load, step: str) -> tuple[int, str, int] | None:
    """Dimension of x along which a window axis slides, the output's axis there, and the padding before."""
    for dimension, index in enumerate(image.index):
        others = [name for name in index.variables if name != step]
        if step in index.variables and len(others) == 1 and all(c == 1 for _, c in index.terms):
            assert isinstance(index.constant, int)
            return dimension, others[0], -index.constant
    return None


def _is_plain(index: Affine) -> bool:
    return len(index.terms) == 1 and index == variable(index.variables[0])
