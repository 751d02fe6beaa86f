"""The sketch of programs without reductions: chains of elementwise stages, transposes."""

from __future__ import annotations

import itertools

from codegen.ir.arithmetic import ceil_div, minimum
from codegen.ir.expression import Program, loads
from codegen.ir.loops import LoopProgram
from codegen.schedule.naive import naive_loops, variable_names
from codegen.schedule.primitives import compute_at, parallel, split, vectorize
from codegen.schedule.rules.knob_values import tile_counts, vector_extents
from codegen.schedule.rules.reads import is_pointwise_after
from codegen.schedule.rules.streams import with_streams
from codegen.schedule.rules.transposing import transposing_sketches
from codegen.schedule.sketch import Knob, Sketch, Values, free
from codegen.target import Target


def elementwise_sketches(program: Program, target: Target) -> tuple[Sketch, ...]:
    """All stages fused, vectors along the last axis, chunks of it over threads.

    ``fused`` stores plainly, ``fused.streamed`` past the caches, where the output is larger than they are.
    Operands that are contiguous along another axis than the output are read by ``tiles``, transposed in
    registers.
    """
    if not is_elementwise(program):
        return ()
    extent = program.stages[-1].axes[-1].extent
    groups = (
        free(Knob("vector", vector_extents(extent, target.vector_lanes))),
        free(Knob("inner", tile_counts(extent))),
    )
    limits = {"inner": lambda values: ceil_div(extent, values["vector"])}
    plain = Sketch("fused", groups, lambda values: _lower(program, values), limits)
    sketches = [plain, *transposing_sketches(program, target)]
    return tuple(each for sketch in sketches for each in with_streams(sketch, program, target))


def is_elementwise(program: Program) -> bool:
    """Whether no stage reduces and each follows from the one before it, element by element."""
    if any(stage.reducer is not None for stage in program.stages):
        return False
    return all(
        is_pointwise_after(stage, program.stages[: n + 1])
        and program.stages[n].output.name in {load.buffer for load in loads(stage.value)}
        for n, stage in enumerate(program.stages[1:])
    )


def _lower(program: Program, values: Values) -> LoopProgram:
    loops = naive_loops(program)
    outputs = [stage.output.name for stage in program.stages]
    for producer, consumer in itertools.pairwise(outputs):
        loops = compute_at(loops, producer, consumer)
    first = variable_names(program)[0]
    *outer, last = (first[axis.name] for axis in program.stages[0].axes)
    extent = program.stages[-1].axes[-1].extent
    vector = values["vector"]
    chunk = vector * minimum(values["inner"], ceil_div(extent, vector))
    loops = split(loops, last, chunk, (f"{last}0", f"{last}_rest"))
    loops = split(loops, f"{last}_rest", vector, (f"{last}1", f"{last}2"))
    for name in (*outer, f"{last}0"):
        loops = parallel(loops, name)
    return vectorize(loops, f"{last}2")
