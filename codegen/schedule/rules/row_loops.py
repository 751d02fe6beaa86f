"""The loops that sketches of rows share: rows over threads, every stage of a row, vectors along it."""

from __future__ import annotations

from codegen.ir.arithmetic import Int, minimum
from codegen.ir.expression import Axis, Program, Stage
from codegen.ir.loops import LoopProgram
from codegen.schedule.naive import naive_loops, variable_names
from codegen.schedule.primitives import factor_reduction, fuse, make_local, parallel, split, vectorize
from codegen.schedule.sketch import Values


def row_loops(program: Program, values: Values) -> LoopProgram:
    """Knob ``row_inner`` counts the rows of an iteration of a thread, ``vector`` the columns of a step."""
    loops = naive_loops(program)
    names = variable_names(program)
    row_names = tuple(name[stage.axes[0].name] for name, stage in zip(names, program.stages, strict=True))
    if len(row_names) > 1:
        loops = fuse(loops, row_names)
    row = row_names[0]
    num_rows = program.stages[0].axes[0].extent
    loops = split(loops, row, minimum(values["row_inner"], num_rows), (f"{row}0", f"{row}1"))
    for stage in program.stages[:-1]:
        loops = make_local(loops, f"{row}1", stage.output.name)
    extents = {axis.extent for stage in program.stages for axis in columns_of(stage)}
    # The same Int for all loops of an extent: only then are their steps known to be equal.
    steps = {extent: minimum(values["vector"], extent) for extent in extents}
    for name, stage in zip(names, program.stages, strict=True):
        for axis in columns_of(stage):
            loops = _vectorized(loops, name[axis.name], stage, steps[axis.extent])
    return parallel(loops, f"{row}0")


def columns_of(stage: Stage) -> tuple[Axis, ...]:
    """The axes along a row."""
    return (*stage.axes[1:], *stage.reduce_axes)


def _vectorized(loops: LoopProgram, column: str, stage: Stage, step: Int) -> LoopProgram:
    chunk, lane = f"{column}0", f"{column}1"
    loops = split(loops, column, step, (chunk, lane))
    if stage.reducer is not None:
        loops = factor_reduction(loops, chunk, lane, f"{stage.output.name}_lanes")
        loops = vectorize(vectorize(loops, f"{lane}_zero"), f"{lane}_last")
    return vectorize(loops, lane)
