"""The sketch of programs that treat each row of a matrix alone: softmax, layer norm, row reductions."""

from __future__ import annotations

from codegen.ir.expression import Program, loads
from codegen.schedule.rules.fused_rows import fused_rows
from codegen.schedule.rules.knob_values import tile_counts, vector_extents
from codegen.schedule.rules.reads import is_rowwise_after
from codegen.schedule.rules.row_loops import columns_of, row_loops
from codegen.schedule.rules.streams import with_streams
from codegen.schedule.sketch import Knob, Sketch, free
from codegen.target import Target


def rowwise_sketches(program: Program, target: Target) -> tuple[Sketch, ...]:
    """Rows over threads, every stage of a row in turn, vectors along the row.

    ``rows`` computes the stages as they are defined; ``rows.fused`` (see ``fused_rows``) goes along a
    row as seldom as it can.
    """
    if not is_rowwise(program) or _packs_rows(program):
        return ()
    num_rows = program.stages[0].axes[0].extent
    columns = max(axis.extent for stage in program.stages for axis in columns_of(stage))
    groups = (
        free(Knob("row_inner", tile_counts(num_rows))),
        free(Knob("vector", vector_extents(columns, target.vector_lanes))),
    )
    limits = {"vector": lambda values: columns}
    plain = Sketch("rows", groups, lambda values: row_loops(program, values), limits)
    fused = fused_rows(program, target)
    return (plain, *(each for sketch in fused for each in with_streams(sketch, program, target)))


def is_rowwise(program: Program) -> bool:
    """Whether some stage reduces the rows of a matrix and every stage treats each row alone."""
    num_rows = program.stages[0].axes[0].extent
    for n, stage in enumerate(program.stages):
        axes, reduce_axes = stage.axes, stage.reduce_axes
        if axes[0].extent != num_rows or len(axes) + len(reduce_axes) > 2:
            return False
        if not is_rowwise_after(stage, program.stages[:n]):
            return False
    return any(stage.reducer is not None for stage in program.stages)


def _packs_rows(program: Program) -> bool:
    """Whether a constant has the rows: packed ahead, it is read faster across rows, as contractions do."""
    first = program.stages[0]
    row = first.axes[0].name
    constants = [load for load in loads(first.value) if program.tensors[load.buffer].is_constant]
    return any(row in index.variables for load in constants for index in load.index)
