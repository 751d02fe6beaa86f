"""Lowering of GPU reductions: a fixed sequence of primitives with knob values as factors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from codegen.ir.arithmetic import Int, ceil_div, minimum
from codegen.ir.closures import known_int
from codegen.ir.expression import Axis, Load, Program
from codegen.ir.loops import LoopProgram, Scope
from codegen.schedule.naive import naive_loops
from codegen.schedule.primitives import (
    Block,
    bind,
    cache_read,
    cache_write,
    compute_at,
    fission,
    pack,
    partial_reduction,
    prepare,
    reorder,
    split,
    vectorize_nest,
)
from codegen.schedule.rules.gpu_knobs import block_name, covering
from codegen.schedule.sketch import Values

_STAGED_TILE = 64
"""Rows and columns of what a program copies: both ways through memory are runs of 128 bytes in float16."""

_PARTIAL = "partial"
"""Results of the programs that share a reduction."""


@dataclass(frozen=True)
class Form:
    """What a sketch fixes.

    ``outer`` axes have a program per element. ``tiled`` axes are cut into tiles, and so are the
    reduction axes in ``depth``, while those in ``serial`` run one by one. Tiles of the axis ``grouped``
    are taken in groups, within which programs meet in the L2 cache; the tiled axes after it run outside
    a group's tiles. The reduction axis ``divided`` is given to several programs, whose results a second
    kernel adds up. The constant operand ``packed`` is laid out ahead of time so that a tile reads it in
    runs along its tiled axis. A kernel of its own copies the operand ``staged`` at each call, padding
    included, so that neighbours along the reduction axis that indexes its dimension ``staged_dimension`` are
    neighbours in memory.
    """

    program: Program
    outer: tuple[Axis, ...]
    tiled: tuple[Axis, ...]
    depth: tuple[Axis, ...]
    serial: tuple[Axis, ...]
    grouped: Axis | None = None
    divided: Axis | None = None
    packed: Load | None = None
    staged: Load | None = None
    staged_dimension: int = 0


@dataclass(frozen=True)
class _Nest:
    """One nest that accumulates, by the names of its loops.

    Tiled loops come with their tile knob, those in ``depth`` as (loop, axis, tile knob): the tiles are
    called after the axis.
    """

    result: str
    accumulator: str
    outer: tuple[str, ...]
    tiled: tuple[tuple[str, str], ...]
    depth: tuple[tuple[str, str, str], ...]
    serial: tuple[str, ...]
    grouped: Axis | None = None


def lower_form(form: Form) -> Callable[[Values], LoopProgram]:
    """The lowering of one sketch."""

    def lower(values: Values) -> LoopProgram:
        loops = naive_loops(form.program)
        if form.staged is not None:
            loops = _stage(loops, form.staged, form.staged_dimension)
        nest = _only_nest(form)
        nests = [nest]
        if form.divided is not None:
            loops = _divide(loops, form, form.divided, values)
            nests = [_first_pass(nest, form.divided), _second_pass(nest, form.divided)]
        for nest in nests:
            loops = _accumulate(loops, nest, values)
        producer = form.program.stages[0].output.name
        for stage in form.program.stages[1:]:
            loops = compute_at(loops, producer, stage.output.name)
            producer = stage.output.name
        for nest in nests:
            loops = _on_tensors(loops, nest)
        return loops if form.packed is None else _pack(loops, form, form.packed, values)

    return lower


def limits(form: Form) -> dict[str, Callable[[Values], Int]]:
    """Numbers of tiles beyond which a larger group or more programs per sum change nothing."""
    result: dict[str, Callable[[Values], Int]] = {}
    if form.grouped is not None:
        result[f"{form.grouped.name}_group"] = _num_tiles(form.grouped)
    if form.divided is not None:
        result[f"{form.divided.name}_splits"] = _num_tiles(form.divided)
    return result


def _num_tiles(axis: Axis) -> Callable[[Values], Int]:
    return lambda values: ceil_div(axis.extent, values[block_name(axis.name)])


def _only_nest(form: Form) -> _Nest:
    return _Nest(
        form.program.stages[0].output.name,
        "acc",
        tuple(axis.name for axis in form.outer),
        tuple((axis.name, block_name(axis.name)) for axis in form.tiled),
        tuple((axis.name, axis.name, block_name(axis.name)) for axis in form.depth),
        tuple(axis.name for axis in form.serial),
        form.grouped,
    )


def _divide(loops: LoopProgram, form: Form, axis: Axis, values: Values) -> LoopProgram:
    """Cut a reduction into as many ranges of whole tiles as the knob says, or fewer."""
    name = axis.name
    block = values[block_name(name)]
    share = block * ceil_div(ceil_div(axis.extent, block), values[f"{name}_splits"])
    others = [a.name for a in form.program.stages[0].reduce_axes if a is not axis]
    loops = reorder(loops, [name, *others]) if others else loops
    loops = split(loops, name, share, (f"{name}_split", f"{name}_rest"))
    return partial_reduction(loops, f"{name}_split", _PARTIAL)


def _first_pass(nest: _Nest, divided: Axis) -> _Nest:
    depth = tuple((f"{n}_rest" if n == divided.name else n, n, knob) for n, _, knob in nest.depth)
    outer = (f"{divided.name}_split", *nest.outer)
    return _Nest(_PARTIAL, "acc", outer, nest.tiled, depth, nest.serial, nest.grouped)


def _second_pass(nest: _Nest, divided: Axis) -> _Nest:
    outer = tuple(f"{name}_sum" for name in nest.outer)
    tiled = tuple((f"{name}_sum", knob) for name, knob in nest.tiled)
    return _Nest(nest.result, "total", outer, tiled, (), (f"{divided.name}_split_sum",))


def _accumulate(loops: LoopProgram, nest: _Nest, values: Values) -> LoopProgram:
    """Tiles of the result as values in registers: set to the start value, added to, written."""
    grid = list(nest.outer)
    for name, knob in nest.tiled:
        if nest.grouped is not None and name == nest.grouped.name:
            num_tiles = minimum(values[f"{name}_group"], ceil_div(nest.grouped.extent, values[knob]))
            loops = split(loops, name, values[knob] * num_tiles, (f"{name}_group", f"{name}_rest"))
            loops = split(loops, f"{name}_rest", values[knob], (f"{name}0", f"{name}1"))
            grid.append(f"{name}_group")
        else:
            loops = split(loops, name, values[knob], (f"{name}0", f"{name}1"))
            grid.append(f"{name}0")
    if nest.grouped is not None:
        grid.append(f"{nest.grouped.name}0")
    tiles = _tiles(nest)
    loops = reorder(loops, [*grid, *tiles])
    loops = cache_write(loops, grid[-1], nest.result, nest.accumulator, Scope.REGISTER)
    loops = fission(loops, tiles[0], ("_zero", ""))
    for name, axis, knob in nest.depth:
        loops = split(loops, name, values[knob], (f"{axis}0", f"{axis}1"))
    serial = [*nest.serial, *(f"{axis}0" for _, axis, _ in nest.depth)]
    loops = reorder(loops, [*serial, *tiles, *(f"{axis}1" for _, axis, _ in nest.depth)])
    return bind(loops, grid)


def _tiles(nest: _Nest) -> list[str]:
    return [f"{name}1" for name, _ in nest.tiled]


def _pack(loops: LoopProgram, form: Form, load: Load, values: Values) -> LoopProgram:
    """Tiles of a constant operand, each contiguous along its tiled axis, written by a program per run."""
    tiled = {axis.name for axis in form.tiled}
    blocks = tuple(
        Block(d, f"{index.variables[0]}1", values[block_name(index.variables[0])])
        for d, index in enumerate(load.index)
        if index.variables[0] in tiled
    )
    name = f"{load.buffer}_packed"
    loops = pack(loops, load.buffer, name, blocks, is_constant=False)
    *outer, last = (f"{name}_{d}" for d in range(len(loops.buffer(name).shape)))
    return prepare(vectorize_nest(bind(loops, outer), [last]), name)


def _stage(loops: LoopProgram, load: Load, last: int) -> LoopProgram:
    """Copy an operand by tiles of its last dimension and of the one that comes last in the copy."""
    name = f"{load.buffer}_staged"
    row = max(d for d in range(len(load.index)) if d != last)
    names = [f"{name}_{d}" for d in range(len(load.index))]
    names[row], names[last] = f"{name}_row", f"{name}_column"
    loops = cache_read(loops, None, load.buffer, name, Scope.GLOBAL, tuple(names), last)
    grid, tiles = [each for d, each in enumerate(names) if d not in (row, last)], []
    for variable, extent in zip((names[row], names[last]), loops.buffer(name).shape[-2:], strict=True):
        tile = min(_STAGED_TILE, covering(known_int(extent)))
        loops = split(loops, variable, tile, (f"{variable}0", f"{variable}1"))
        grid.append(f"{variable}0")
        tiles.append(f"{variable}1")
    return vectorize_nest(bind(reorder(loops, [*grid, *tiles]), grid), tiles)


def _on_tensors(loops: LoopProgram, nest: _Nest) -> LoopProgram:
    tiles = _tiles(nest)
    loops = vectorize_nest(loops, [f"{name}_zero" for name in tiles])
    loops = vectorize_nest(loops, [*tiles, *(f"{axis}1" for _, axis, _ in nest.depth)])
    return vectorize_nest(loops, [f"{name}_out" for name in tiles])
