"""Sketches of reductions over several axes: matrix products, convolutions, pooling.

The structure is Ansor's multi-level tiling (arXiv:2006.06762, section 4.1) with a register tile at
the centre: parallel tiles, cache tiles, the reduction, then a tile of accumulators that stays in
vector registers. Ours names the vectorized axis, the way each operand is brought closer, and the
splitting of the reduction in the sketch, so that within a sketch everything is arithmetic.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Literal

from codegen.ir.affine import variable
from codegen.ir.expression import Axis, Load, Program, Select, Stage, loads, walk
from codegen.schedule.rules.reads import is_pointwise_after
from codegen.target import Target

Staging = Literal["direct", "whole", "tile", "packed"]
"""How an activation is read: in place; from a padded copy made first; from a padded copy of each
parallel tile's region; from a copy in the order in which the register tiles read it."""


_MAX_WINDOW_STEPS = 25
"""Steps of a reduction that are laid out for each row of a register tile: windows of up to 5 x 5."""


@dataclass(frozen=True)
class Contraction:
    """A program whose first stage reduces and whose other stages are elementwise in its result."""

    program: Program
    stage: Stage
    target: Target

    @property
    def loads(self) -> tuple[Load, ...]:
        """Operands of the reduction."""
        return tuple(loads(self.stage.value))

    @property
    def shared_axes(self) -> tuple[str, ...]:
        """Axes that index every operand alone: nothing is reused along them."""
        names = [axis.name for axis in self.stage.axes]
        several = len(self.loads) > 1
        return tuple(n for n in names if several and all(variable(n) in load.index for load in self.loads))

    @property
    def batch_axes(self) -> tuple[str, ...]:
        """Shared axes without a register tile: not the last axis, along which the result is contiguous."""
        return tuple(name for name in self.shared_axes if name != self.stage.axes[-1].name)

    @property
    def tiled_axes(self) -> tuple[Axis, ...]:
        """The other axes of the result."""
        return tuple(axis for axis in self.stage.axes if axis.name not in self.batch_axes)

    def is_constant(self, name: str) -> bool:
        """Whether the operand may be packed ahead of time."""
        return self.program.tensors[name].is_constant


@dataclass(frozen=True)
class Choice:
    """What a sketch fixes.

    ``row_by_row`` finishes one row of the register tile after another, all steps of the reduction laid
    out, so that what neighbouring rows read is loaded once and few accumulators are alive at a time.
    ``panels`` packs constants one vector wide, so that a tile of several vectors reads as many streams.
    """

    vector: str
    staging: tuple[tuple[str, Staging], ...]
    splits_reduction: bool
    vector_outside: bool
    row_by_row: bool = False
    panels: bool = False

    @property
    def name(self) -> str:
        """Readable and unique among the choices of a program."""
        parts = [f"vector_{self.vector}", *(f"{kind}_{buffer}" for buffer, kind in self.staging)]
        parts += ["split"] * self.splits_reduction + ["outside"] * self.vector_outside
        parts += ["rows"] * self.row_by_row + ["panels"] * self.panels
        return ".".join(parts)


def match(program: Program, target: Target) -> Contraction | None:
    """The program as a contraction, or None."""
    first, *rest = program.stages
    if first.reducer is None or any(stage.reducer is not None for stage in rest):
        return None
    if not all(is_pointwise_after(stage, program.stages[: n + 1]) for n, stage in enumerate(rest)):
        return None
    buffers = [load.buffer for load in loads(first.value)]
    if len(set(buffers)) != len(buffers):
        return None
    contraction = Contraction(program, first, target)
    return contraction if contraction.tiled_axes else None


def choices(contraction: Contraction) -> list[Choice]:
    """Every structure worth searching, in a fixed order; vectors are gathered only if there is no other."""
    return _choices(contraction, gathers=False) or _choices(contraction, gathers=True)


def _choices(contraction: Contraction, *, gathers: bool) -> list[Choice]:
    result = []
    for axis in contraction.tiled_axes:
        stagings = [_stagings(contraction, load, axis.name, gathers) for load in contraction.loads]
        if not _can_vectorize(contraction, axis.name) or not all(stagings):
            continue
        named = [
            [(load.buffer, kind) for kind in kinds]
            for load, kinds in zip(contraction.loads, stagings, strict=True)
            if not contraction.is_constant(load.buffer)
        ]
        splits = [False, True] if splittable(contraction) else [False]
        orders = [False, True] if len(contraction.tiled_axes) > 1 else [False]
        for staging, split, outside in itertools.product(itertools.product(*named), splits, orders):
            result.append(Choice(axis.name, staging, split, outside))
            if streams_constant(contraction, axis.name):
                result.append(Choice(axis.name, staging, split, outside, panels=True))
        if is_small_window(contraction) and len(contraction.tiled_axes) > 1:
            in_place = [s for s in itertools.product(*named) if all(kind == "direct" for _, kind in s)]
            for staging, outside in itertools.product(in_place, orders):
                result.append(Choice(axis.name, staging, False, outside, row_by_row=True))
    return result


def streams_constant(contraction: Contraction, vector: str) -> bool:
    """Whether a constant along the vectorized axis comes from memory beyond the caches at each call."""
    tensors = contraction.program.tensors
    return any(
        contraction.is_constant(load.buffer)
        and any(vector in index.variables for index in load.index)
        and tensors[load.buffer].num_bytes > contraction.target.l3_bytes
        for load in contraction.loads
    )


def is_small_window(contraction: Contraction) -> bool:
    """Whether the reduction is a window small enough to be laid out, slid along where nothing else is reused.

    Depthwise convolutions and pooling: neighbouring rows of the result share rows of the input.
    """
    num_steps = math.prod(axis.extent for axis in contraction.stage.reduce_axes)
    slides = any(len(index.variables) > 1 for load in contraction.loads for index in load.index)
    alone = bool(contraction.batch_axes) or len(contraction.loads) == 1
    return slides and alone and num_steps <= _MAX_WINDOW_STEPS


def splittable(contraction: Contraction) -> bool:
    """Whether the first reduction axis is long enough to be cut into cache tiles."""
    return contraction.stage.reducer == "sum" and contraction.stage.reduce_axes[0].extent >= 64


def is_padded(contraction: Contraction, buffer: str) -> bool:
    """Whether reads of the operand are guarded by a select."""
    return any(
        isinstance(part, Select) and buffer in {load.buffer for load in loads(part.then)}
        for part in walk(contraction.stage.value)
    )


def _can_vectorize(contraction: Contraction, axis: str) -> bool:
    """The result or, by a transpose in registers, a constant operand must be contiguous along the axis."""
    if contraction.stage.axes[-1].name == axis:
        return True
    users = [load for load in contraction.loads if any(axis in i.variables for i in load.index)]
    return bool(users) and all(contraction.is_constant(load.buffer) for load in users)


def _stagings(contraction: Contraction, load: Load, vector: str, gathers: bool) -> list[Staging]:
    if contraction.is_constant(load.buffer):
        return ["packed"]
    padded = is_padded(contraction, load.buffer)
    overlaps = any(len(index.variables) > 1 for index in load.index)
    in_vector = any(vector in index.variables for index in load.index)
    kinds: list[Staging] = []
    if not padded or (contraction.shared_axes and in_vector) or len(contraction.loads) == 1:
        kinds.append("direct")
    if overlaps or padded:
        kinds += ["whole", "tile"]
    elif _is_packable(load):
        kinds.append("packed")
    if in_vector and not _is_contiguous(load, vector) and not overlaps and not gathers:
        kinds = [kind for kind in kinds if kind == "packed"]
    return kinds


def _is_packable(load: Load) -> bool:
    return all(not index.terms or index == variable(index.variables[0]) for index in load.index)


def _is_contiguous(load: Load, vector: str) -> bool:
    return load.index[-1].coefficient(vector) == 1 and not any(
        vector in index.variables for index in load.index[:-1]
    )


def with_vector_last(axes: tuple[Axis, ...], vector: str) -> tuple[Axis, ...]:
    """The axes in order, the vectorized one moved to the end."""
    return (*(a for a in axes if a.name != vector), *(a for a in axes if a.name == vector))
