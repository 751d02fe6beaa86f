"""The GPU sketch of programs without reductions: elementwise chains, transposes."""

from __future__ import annotations

import itertools

from codegen.gpu_target import GpuTarget
from codegen.ir.expression import Program
from codegen.ir.loops import LoopProgram
from codegen.schedule.naive import naive_loops, variable_names
from codegen.schedule.primitives import bind, compute_at, reorder, split, vectorize_nest
from codegen.schedule.rules.elementwise import is_elementwise
from codegen.schedule.rules.gpu_knobs import block_name, blocks, launch
from codegen.schedule.sketch import Sketch, Values

_LARGEST_TILE = 4096


def gpu_elementwise_sketches(program: Program, target: GpuTarget) -> tuple[Sketch, ...]:
    """One sketch: all stages fused, a program per tile."""
    if not is_elementwise(program):
        return ()
    groups = (blocks(program.stages[0].axes, 1, _LARGEST_TILE), *launch((1, 2, 4, 8), (1,)))
    return (Sketch("fused", groups, lambda values: _lower(program, values)),)


def _lower(program: Program, values: Values) -> LoopProgram:
    loops = naive_loops(program)
    outputs = [stage.output.name for stage in program.stages]
    for producer, consumer in itertools.pairwise(outputs):
        loops = compute_at(loops, producer, consumer)
    names = [variable_names(program)[0][axis.name] for axis in program.stages[0].axes]
    for name in names:
        loops = split(loops, name, values[block_name(name)], (f"{name}0", f"{name}1"))
    grid, tile = ([f"{name}{level}" for name in names] for level in (0, 1))
    return vectorize_nest(bind(reorder(loops, [*grid, *tile]), grid), tile)
