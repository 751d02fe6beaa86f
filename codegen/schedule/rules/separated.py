"""The sketch of pooling that reduces a window first down its columns, then along the row that is left.

A window of 3 x 3 takes nine steps, its column and its row three each. The columns of all windows of an output
row are one row, whose vectors are contiguous whatever the stride, and padding is put into it: what follows
reads it without conditions. Source: separable filters of image processing; maxima and sums are separable.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from functools import reduce
from typing import cast

from codegen.ir.affine import Affine, variable
from codegen.ir.arithmetic import minimum
from codegen.ir.expression import Axis, Binary, BinaryOp, Expr, Load, Program, Select, Stage, Tensor, walk
from codegen.ir.loops import LoopProgram
from codegen.schedule.naive import naive_loops, variable_names
from codegen.schedule.primitives import compute_at, fuse, make_local, parallel, split, vectorize
from codegen.schedule.rewrite import substitute_expr
from codegen.schedule.rules.contraction import is_small_window, match
from codegen.schedule.rules.knob_values import tile_counts, vector_extents
from codegen.schedule.rules.streams import with_streams
from codegen.schedule.sketch import Knob, Sketch, Values, free
from codegen.target import Target

_OPS: dict[str, BinaryOp] = {"max": "max", "sum": "add"}

_MAX_VECTORS = 8
"""A row of so many vectors may be laid out whole: padding then is known where its code is written."""


@dataclass(frozen=True)
class _Window:
    """A reduction over windows of one operand: ``column`` runs down them, ``row`` along the last axis."""

    stage: Stage
    column: Axis
    row: Axis
    stride: int

    @property
    def width(self) -> int:
        """Elements of the row that the windows of an output row cover, padding included."""
        return self.stride * (self.stage.axes[-1].extent - 1) + self.row.extent


def separated_sketches(program: Program, target: Target) -> tuple[Sketch, ...]:
    """None if the program does not begin with windows of two dimensions that slide along rows of one operand.

    Output rows go over threads, ``row_inner`` at a time; ``column_vector`` elements of the columns' row and
    ``vector`` of the output's are a step.
    """
    window = _window(program, target)
    if window is None:
        return ()
    height, last = window.stage.axes[-2:]
    widths = vector_extents(window.width, target.vector_lanes)
    if window.width <= _MAX_VECTORS * target.vector_lanes:
        widths = tuple(sorted({*widths, window.width}))
    groups = (
        free(Knob("row_inner", tile_counts(height.extent))),
        free(Knob("column_vector", widths)),
        free(Knob("vector", vector_extents(last.extent, target.vector_lanes))),
    )
    limits = {"column_vector": lambda values: window.width, "vector": lambda values: last.extent}
    separated = _separated(program, window)
    plain = Sketch("separated", groups, lambda values: _lower(separated, values), limits)
    return with_streams(plain, program, target)


def _window(program: Program, target: Target) -> _Window | None:
    contraction = match(program, target)
    if contraction is None or len(contraction.loads) != 1 or not is_small_window(contraction):
        return None
    stage = contraction.stage
    index = contraction.loads[0].index[-1]
    rows = [axis for axis in stage.reduce_axes if index.coefficient(axis.name) == 1]
    columns = [axis for axis in stage.reduce_axes if index.coefficient(axis.name) == 0]
    stride = cast(int, index.coefficient(stage.axes[-1].name))
    if len(rows) != 1 or len(columns) != 1 or len(stage.axes) < 2 or stride < 1:
        return None
    window = _Window(stage, columns[0], rows[0], stride)
    return window if _slides(window) else None


def _slides(window: _Window) -> bool:
    """Whether places in a row count only as ``stride * last + row``: one row then serves all its windows."""
    last = window.stage.axes[-1].name
    indices: list[Affine] = []
    for expr in walk(window.stage.value):
        if isinstance(expr, Load):
            indices += expr.index
        elif isinstance(expr, Select):
            indices += [condition.index for condition in expr.conditions]
    return all(
        index.coefficient(last) == window.stride * index.coefficient(window.row.name) for index in indices
    )


def _separated(program: Program, window: _Window) -> Program:
    """The same computation with a stage for the columns of the windows before that of their rows."""
    stage, op = window.stage, _OPS[cast(str, window.stage.reducer)]
    *outer, last = stage.axes
    place = Axis(f"{last.name}_in", window.width)
    columns = Tensor(f"{stage.output.name}_columns", (*stage.output.shape[:-1], window.width))
    steps: list[Expr] = []
    for step in range(window.column.extent):
        values = {window.column.name: Affine((), step), last.name: Affine()}
        steps.append(substitute_expr(stage.value, {**values, window.row.name: variable(place.name)}))
    first = Stage(columns, (*outer, place), reduce(lambda one, two: Binary(op, one, two), steps))
    lead = tuple(variable(axis.name) for axis in outer)
    parts: list[Expr] = [
        Load(columns.name, (*lead, variable(last.name) * window.stride + step))
        for step in range(window.row.extent)
    ]
    value = reduce(lambda one, two: Binary(op, one, two), parts)
    second = Stage(stage.output, stage.axes, value)
    return replace(program, stages=(first, second, *program.stages[1:]), _hash=[])


def _lower(program: Program, values: Values) -> LoopProgram:
    loops = naive_loops(program)
    outputs = [stage.output.name for stage in program.stages]
    for producer, consumer in itertools.pairwise(outputs[1:]):
        loops = compute_at(loops, producer, consumer)
    first, second = variable_names(program)[:2]
    columns, result = program.stages[:2]
    *outer, height = [axis.name for axis in columns.axes[:-1]]
    for name in (*outer, height):
        loops = fuse(loops, (first[name], second[name]))
    extent = columns.axes[-2].extent
    loops = split(loops, first[height], minimum(values["row_inner"], extent), (f"{height}0", f"{height}1"))
    loops = make_local(loops, f"{height}1", columns.output.name)
    for names, stage, knob in ((first, columns, "column_vector"), (second, result, "vector")):
        axis = stage.axes[-1]
        name = names[axis.name]
        loops = split(loops, name, minimum(values[knob], axis.extent), (f"{name}0", f"{name}1"))
        loops = vectorize(loops, f"{name}1")
    for name in (*(first[name] for name in outer), f"{height}0"):
        loops = parallel(loops, name)
    return loops
