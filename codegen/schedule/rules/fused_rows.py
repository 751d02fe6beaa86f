"""The sketch of programs of rows that go along each row as seldom as they can."""

from __future__ import annotations

import itertools

from codegen.ir.expression import Expr, Program, Stage, Unary, loads, walk
from codegen.ir.loops import LoopProgram
from codegen.schedule.naive import variable_names
from codegen.schedule.primitives import fetch, join
from codegen.schedule.recompute import inline_elementwise
from codegen.schedule.row_values import hoist_row_values
from codegen.schedule.rules.knob_values import tile_counts, vector_extents
from codegen.schedule.rules.row_loops import columns_of, row_loops
from codegen.schedule.rules.streams import fits_caches
from codegen.schedule.sketch import Knob, Sketch, Values, free
from codegen.target import Target

_COSTLY = ("exp", "tanh", "erf")
"""Functions of some ten instructions: their results are stored rather than computed again."""


def fused_rows(program: Program, target: Target) -> tuple[Sketch, ...]:
    """None where there is nothing to fuse, else a sketch or two.

    Cheap intermediate stages are computed anew where they are read, what a row shares once a row, and a
    costly stage in one pass with the reduction of it that follows.

    Softmax goes along a row three times this way, for the maximum, the exponentials with their sum, and
    the products; layer norm for the sum, the squares (of what the mean is taken off: no digits are lost)
    and the result. ``row_inner`` rows are one iteration of a thread, ``vector`` their columns in a step.
    What the caches do not hold, ``rows.fused.ahead`` fetches a row ahead.
    """
    changed = hoist_row_values(inline_elementwise(program, is_kept=_is_costly))
    if changed.stages == program.stages and not any(itertools.starmap(_continues, _pairs(program))):
        return ()
    num_rows = program.stages[0].axes[0].extent
    columns = max(axis.extent for stage in program.stages for axis in columns_of(stage))
    groups = (
        free(Knob("row_inner", tuple(sorted({*tile_counts(num_rows), num_rows})))),
        free(Knob("vector", vector_extents(columns, target.vector_lanes))),
    )
    limits = {"vector": lambda values: columns}
    plain = Sketch("rows.fused", groups, lambda values: _lower(changed, values), limits)
    if fits_caches(program, target) or not _rereads(changed):
        return (plain,)
    fetching = Sketch("rows.fused.ahead", groups, lambda values: _fetching(changed, values), limits)
    return (plain, fetching)


def _rereads(program: Program) -> list[tuple[int, str]]:
    """Stages that read an input's rows after another has, and the input: while they do, memory is idle."""
    seen: set[str] = set()
    found = []
    for n, stage in enumerate(program.stages):
        rows = {load.buffer for load in loads(stage.value) if len(load.index) == 2}
        inputs = [t.name for t in program.inputs if t.name in rows]
        found += [(n, name) for name in inputs if name in seen]
        seen |= set(inputs)
    return found


def _fetching(program: Program, values: Values) -> LoopProgram:
    """The next row comes from memory while this one, read once, is computed with.

    The last pass along a row, which is short of arithmetic, asks for the row after the next.
    """
    loops = _lower(program, values)
    rereads, last = _rereads(program), len(program.stages) - 1
    for n, name in rereads:
        loops = _fetched(loops, program, n, name, 2 if n == last else 1)
    name = rereads[0][1]
    if (last, name) not in rereads and program.tensors[name].shape == program.output.shape:
        loops = _fetched(loops, program, last, name, 2, program.output.name)
    return loops


def _fetched(
    loops: LoopProgram, program: Program, n: int, buffer: str, num_rows: int, beside: str = ""
) -> LoopProgram:
    """A pass along a row that fetches from a row further on."""
    (column,) = columns_of(program.stages[n])
    chunk = f"{variable_names(program)[n][column.name]}1"
    return fetch(loops, chunk, buffer, num_rows * column.extent, beside)


def _is_costly(value: Expr) -> bool:
    return any(isinstance(part, Unary) and part.op in _COSTLY for part in walk(value))


def _lower(program: Program, values: Values) -> LoopProgram:
    loops = row_loops(program, values)
    names = variable_names(program)
    chunks = [_chunk(name, stage) for name, stage in zip(names, program.stages, strict=True)]
    for n, (stage, following) in enumerate(_pairs(program)):
        if _continues(stage, following):
            loops = join(loops, chunks[n], chunks[n + 1])
    return loops


def _pairs(program: Program) -> list[tuple[Stage, Stage]]:
    return list(itertools.pairwise(program.stages))


def _continues(stage: Stage, following: Stage) -> bool:
    """Whether a reduction follows that reads what the stage has just computed, column by column."""
    columns, others = columns_of(stage), columns_of(following)
    is_read = stage.output.name in {load.buffer for load in loads(following.value)}
    return (
        stage.reducer is None
        and following.reducer is not None
        and is_read
        and [axis.extent for axis in columns] == [axis.extent for axis in others]
    )


def _chunk(names: dict[str, str], stage: Stage) -> str:
    """The loop over a stage's chunks of columns; empty where it has none."""
    return "".join(f"{names[axis.name]}0" for axis in columns_of(stage))
