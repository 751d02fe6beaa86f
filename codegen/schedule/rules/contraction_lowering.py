"""Lowering of contraction sketches: a fixed sequence of primitives with knob values as factors."""

from __future__ import annotations

from collections.abc import Callable

from codegen.ir.affine import variable
from codegen.ir.arithmetic import Int, ceil_div, minimum
from codegen.ir.expression import Axis, Load
from codegen.ir.loops import LoopProgram, Scope
from codegen.schedule.naive import naive_loops
from codegen.schedule.primitives import (
    Block,
    cache_read,
    cache_write,
    compute_at,
    fission,
    pack,
    parallel,
    reorder,
    split,
    unroll,
    vectorize,
)
from codegen.schedule.rules.contraction import Choice, Contraction, with_vector_last
from codegen.schedule.sketch import Values


def lower_contraction(contraction: Contraction, choice: Choice) -> Callable[[Values], LoopProgram]:
    """The lowering of one sketch."""

    def lower(values: Values) -> LoopProgram:
        loops = _tile(contraction, choice, values)
        if choice.splits_reduction:
            loops = _accumulate_in_cache(loops, contraction, choice, values)
        else:
            loops = _accumulate_in_registers(loops, contraction, choice)
        producer = contraction.stage.output.name
        for stage in contraction.program.stages[1:]:
            loops = compute_at(loops, producer, stage.output.name)
            producer = stage.output.name
        loops = _annotate(loops, contraction, choice, values)
        return _stage_operands(loops, contraction, choice, values)

    return lower


def limits(contraction: Contraction) -> dict[str, Callable[[Values], Int]]:
    """Number of tiles beyond which a cache tile's knob changes nothing."""
    result: dict[str, Callable[[Values], Int]] = {}
    for axis in contraction.stage.axes:
        is_batch = axis.name in contraction.batch_axes
        result[f"{axis.name}_inner"] = _inner_limit(axis, is_batch)
        if not is_batch:
            result[f"{axis.name}_outer"] = _outer_limit(axis)
    return result


def _inner_limit(axis: Axis, is_batch: bool) -> Callable[[Values], Int]:
    return lambda values: ceil_div(axis.extent, 1 if is_batch else values[f"{axis.name}_register"])


def _outer_limit(axis: Axis) -> Callable[[Values], Int]:
    def limit(values: Values) -> Int:
        register = values[f"{axis.name}_register"]
        inner = minimum(values[f"{axis.name}_inner"], ceil_div(axis.extent, register))
        return ceil_div(axis.extent, register * inner)

    return limit


def _tile(contraction: Contraction, choice: Choice, values: Values) -> LoopProgram:
    """Parallel tiles (0) outside, then two levels of cache tiles (1, 2), then register tiles (3)."""
    loops = naive_loops(contraction.program)
    for axis in contraction.stage.axes:
        name, extent = axis.name, axis.extent
        if name in contraction.batch_axes:
            loops = split(loops, name, minimum(values[f"{name}_inner"], extent), (f"{name}0", f"{name}1"))
            continue
        register = _register(contraction, choice, values, name)
        inner = register * minimum(values[f"{name}_inner"], ceil_div(extent, register))
        outer = inner * minimum(values[f"{name}_outer"], ceil_div(extent, inner))
        loops = split(loops, name, outer, (f"{name}0", f"{name}_rest"))
        loops = split(loops, f"{name}_rest", inner, (f"{name}1", f"{name}_rest1"))
        loops = split(loops, f"{name}_rest1", register, (f"{name}2", f"{name}3"))
    order = [f"{axis.name}0" for axis in contraction.stage.axes]
    order += [f"{name}1" for name in contraction.batch_axes]
    tiled = with_vector_last(contraction.tiled_axes, choice.vector)
    cache_order = (tiled[-1], *tiled[:-1]) if choice.vector_outside else tiled
    order += [f"{axis.name}1" for axis in cache_order] + [f"{axis.name}2" for axis in cache_order]
    order += [f"{axis.name}3" for axis in tiled]
    return reorder(loops, order)


def _register(contraction: Contraction, choice: Choice, values: Values, axis: str) -> Int:
    """The register tile along an axis: whole vectors where it is cut into panels."""
    register, lanes = values[f"{axis}_register"], contraction.target.vector_lanes
    return ceil_div(register, lanes) * lanes if choice.panels and axis == choice.vector else register


def _level(contraction: Contraction, choice: Choice, level: int) -> list[str]:
    tiled = with_vector_last(contraction.tiled_axes, choice.vector)
    if level in (1, 2) and choice.vector_outside:
        tiled = (tiled[-1], *tiled[:-1])
    return [f"{axis.name}{level}" for axis in tiled]


def _accumulate_in_registers(loops: LoopProgram, contraction: Contraction, choice: Choice) -> LoopProgram:
    registers = _level(contraction, choice, 3)
    innermost = _level(contraction, choice, 2)[-1]
    result = contraction.stage.output.name
    loops = cache_write(loops, innermost, result, "acc", Scope.REGISTER, contiguous=registers[-1])
    loops = fission(loops, registers[0], ("_zero", ""))
    steps = [axis.name for axis in contraction.stage.reduce_axes]
    if choice.row_by_row:
        return reorder(loops, [*registers[:-1], *steps, registers[-1]])
    return reorder(loops, steps + registers)


def _accumulate_in_cache(
    loops: LoopProgram, contraction: Contraction, choice: Choice, values: Values
) -> LoopProgram:
    """Partial sums of a cache tile live in a thread's workspace while the reduction goes in steps."""
    registers, tiles = _level(contraction, choice, 3), _level(contraction, choice, 2)
    outside, vector = _level(contraction, choice, 1)[-1], registers[-1]
    first, *rest = (axis.name for axis in contraction.stage.reduce_axes)
    result = contraction.stage.output.name
    loops = cache_write(loops, outside, result, "partial", Scope.LOCAL, suffix="_last", contiguous=vector)
    loops = fission(loops, tiles[0], ("_zero", ""))
    loops = split(loops, first, values[f"{first}_tile"], (f"{first}0", f"{first}1"))
    loops = reorder(loops, [f"{first}0", *tiles, f"{first}1", *rest, *registers])
    loops = cache_write(loops, tiles[-1], "partial", "acc", Scope.REGISTER, contiguous=vector)
    if _is_transposed(contraction, choice):
        names = tuple(f"{name}_move" for name in registers)
        loops = cache_read(loops, f"{tiles[-1]}_last", "partial", "done", Scope.REGISTER, names)
    return loops


def _is_transposed(contraction: Contraction, choice: Choice) -> bool:
    """Whether the result is contiguous along another axis than the accumulators."""
    return contraction.stage.axes[-1].name != choice.vector


def _annotate(loops: LoopProgram, contraction: Contraction, choice: Choice, values: Values) -> LoopProgram:
    for axis in contraction.stage.axes:
        loops = parallel(loops, f"{axis.name}0")
    for axis in contraction.stage.reduce_axes:
        if choice.row_by_row:
            loops = unroll(loops, axis.name)
            continue
        is_cut = choice.splits_reduction and axis is contraction.stage.reduce_axes[0]
        loops = unroll(loops, f"{axis.name}1" if is_cut else axis.name, values[f"{axis.name}_unroll"])
    registers = _level(contraction, choice, 3)
    written = f"{contraction.stage.axes[-1].name}3"
    if choice.panels:
        panels = [f"{registers[-1]}_panel", f"{registers[-1]}_lane"]
        loops = split(loops, registers[-1], contraction.target.vector_lanes, (panels[0], panels[1]))
        loops = _in_registers(loops, [*registers[:-1], *panels], panels[-1], "")
    else:
        loops = _in_registers(loops, registers, registers[-1], "")
    for suffix in ["_zero", "_in", "_out"] if choice.splits_reduction else ["_zero"]:
        loops = _in_registers(loops, registers, registers[-1], suffix)
    if choice.splits_reduction and _is_transposed(contraction, choice):
        loops = _in_registers(loops, registers, registers[-1], "_move")
    return _in_registers(loops, registers, written, "_last" if choice.splits_reduction else "_out")


def _in_registers(loops: LoopProgram, names: list[str], vector: str, suffix: str) -> LoopProgram:
    """Unroll a nest over a register tile, vectorized along one of its loops."""
    ordered = [f"{name}{suffix}" for name in names if name != vector]
    if vector != names[-1]:
        loops = reorder(loops, [*ordered, f"{vector}{suffix}"])
    for name in ordered:
        loops = unroll(loops, name)
    return vectorize(loops, f"{vector}{suffix}")


def _stage_operands(
    loops: LoopProgram, contraction: Contraction, choice: Choice, values: Values
) -> LoopProgram:
    for load in contraction.loads:
        if contraction.is_constant(load.buffer):
            blocks = _blocks(contraction, choice, load, values)
            loops = pack(loops, load.buffer, f"{load.buffer}_packed", blocks, is_constant=True)
    for buffer, staging in choice.staging:
        copy = f"{buffer}_{staging}"
        if staging == "packed":
            load = next(load for load in contraction.loads if load.buffer == buffer)
            blocks = _blocks(contraction, choice, load, values)
            loops = pack(loops, buffer, copy, blocks, is_constant=False)
        elif staging == "whole":
            loops = cache_read(loops, None, buffer, copy, Scope.GLOBAL)
        elif staging == "tile":
            last_parallel = f"{contraction.stage.axes[-1].name}0"
            loops = cache_read(loops, last_parallel, buffer, copy, Scope.LOCAL)
        if staging != "direct":
            loops = _annotate_copy(loops, contraction, copy, is_shared=staging != "tile")
    return loops


def _blocks(contraction: Contraction, choice: Choice, load: Load, values: Values) -> tuple[Block, ...]:
    """The operand's dimensions along register tiles, which the packed copy makes contiguous."""
    tiled = {axis.name for axis in contraction.tiled_axes}
    blocks = []
    for dimension, index in enumerate(load.index):
        axis = index.variables[0] if index.terms else ""
        if axis not in tiled or index != variable(axis):
            continue
        if choice.panels and axis == choice.vector:
            blocks.append(Block(dimension, f"{axis}3_lane", contraction.target.vector_lanes))
        else:
            blocks.append(Block(dimension, f"{axis}3", values[f"{axis}_register"]))
    return tuple(blocks)


def _annotate_copy(
    loops: LoopProgram, contraction: Contraction, copy: str, *, is_shared: bool
) -> LoopProgram:
    num_dimensions = len(loops.buffer(copy).shape)
    last = f"{copy}_{num_dimensions - 1}"
    lanes = contraction.target.vector_lanes
    loops = split(loops, last, lanes, (f"{last}_vector", f"{last}_lane"))
    loops = vectorize(loops, f"{last}_lane")
    if is_shared:
        for d in range(min(2, num_dimensions - 1)):
            loops = parallel(loops, f"{copy}_{d}")
    return loops
