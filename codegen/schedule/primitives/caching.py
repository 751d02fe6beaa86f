"""Primitives that move data closer: cache_write, cache_read, pack."""

from __future__ import annotations

from dataclasses import dataclass, replace

from codegen.ir.affine import Affine, variable
from codegen.ir.arithmetic import Int, is_known
from codegen.ir.expression import Constant, Expr, InRange, Load, Select, loads, walk
from codegen.ir.loops import Buffer, Loop, LoopProgram, Node, Scope, Store, walk_nodes
from codegen.schedule.errors import require
from codegen.schedule.rewrite import (
    Nodes,
    find_loop,
    loop_extents,
    map_expr,
    map_stores,
    replace_loop,
    stores_to,
    substitute,
    wrap,
)


def cache_write(
    program: LoopProgram,
    at: str,
    buffer: str,
    name: str,
    scope: Scope,
    *,
    suffix: str = "_out",
    contiguous: str | None = None,
) -> LoopProgram:
    """Let the body of loop ``at`` write to a small buffer that is copied out at its end.

    What the body only accumulates into is copied in at its start. The loops that copy out carry the
    suffix, those that copy in ``_in``. The dimension that loop ``contiguous`` indexes comes last.

    >>> from codegen.schedule.examples import row_sum, show
    >>> show(row_sum(2, 3))
    for i in range(2):
        c[i] = 0.0
        for k in range(3):  # reduction
            c[i] += a[i, k]
    >>> show(cache_write(row_sum(2, 3), "i", "c", "acc", Scope.REGISTER))
    for i in range(2):
        acc[0] = 0.0
        for k in range(3):  # reduction
            acc[0] += a[i, k]
        c[i] = acc[0]
    """
    body = find_loop(program, at).body
    stores = stores_to(body, buffer)
    require(bool(stores), f"loop {at!r} does not write {buffer!r}")
    extents = loop_extents(body)
    index = stores[-1].index
    order = _region_order(index, set(extents), contiguous)
    inner = set(extents)
    local = tuple(index[d].only(inner) for d in order)
    shape = tuple(i.span(extents) for i in local)

    def redirect(store: Store) -> Nodes:
        if store.buffer != buffer:
            return (store,)
        moved = tuple(store.index[d].only(inner) for d in order)
        return (Store(name, moved, store.value, store.reducer),)

    used = [n for n in extents if any(n in i.variables for i in local)]
    loops = {n.variable: n for n in walk_nodes(body) if isinstance(n, Loop)}
    around = [loops[variable_name] for variable_name in used]
    parts: list[Nodes] = [map_stores(body, redirect)]
    if all(store.reducer for store in stores):
        parts.insert(0, _copy(around, Store(name, local, Load(buffer, index)), "_in"))
    parts.append(_copy(around, Store(buffer, index, Load(name, local)), suffix))
    whole = tuple(node for part in parts for node in part)
    program = replace_loop(program, at, lambda loop: (replace(loop, body=whole),))
    return replace(program, buffers=(*program.buffers, Buffer(name, shape, scope)))


def cache_read(
    program: LoopProgram,
    at: str | None,
    buffer: str,
    name: str,
    scope: Scope,
    dimensions: tuple[str, ...] = (),
    last: int | None = None,
) -> LoopProgram:
    """Copy the region of ``buffer`` that the body of loop ``at`` reads, padding included, before it is read.

    ``at=None`` copies once, before everything else. Reads guarded by a select (padding) become plain
    reads of the copy, which holds the padding values. The loops of the copy are called ``name_0``,
    ``name_1``, ... or as ``dimensions`` says. The source's dimension ``last`` is contiguous in the copy.

    >>> from codegen.schedule.examples import padded_sum, show
    >>> show(padded_sum(4))
    for i in range(4):
        c[i] = 0.0
        for k in range(3):  # reduction
            c[i] += select(0 <= i + k - 1 < 4, a[i + k - 1], 0.0)
    >>> show(cache_read(padded_sum(4), None, "a", "copy", Scope.GLOBAL))
    for copy_0 in range(6):
        copy[copy_0] = select(0 <= copy_0 - 1 < 4, a[copy_0 - 1], 0.0)
    for i in range(4):
        c[i] = 0.0
        for k in range(3):  # reduction
            c[i] += copy[i + k]
    """
    body = find_loop(program, at).body if at else program.body
    source = program.buffer(buffer)
    load, fallback = _cached_load(body, buffer)
    extents = loop_extents(body)
    shape = tuple(index.span(extents) for index in load.index)
    inner = set(extents)
    order = sorted(range(len(load.index)), key=lambda d: d == (len(load.index) - 1 if last is None else last))

    def redirect(expr: Expr) -> Expr | None:
        if isinstance(expr, Select) and isinstance(expr.then, Load) and expr.then.buffer == buffer:
            expr = expr.then
        if isinstance(expr, Load) and expr.buffer == buffer:
            require(expr.index == load.index, f"{buffer!r} is read in two ways; it cannot be cached")
            return Load(name, tuple(expr.index[d].only(inner) for d in order))
        return None

    variables = dimensions or tuple(f"{name}_{d}" for d in range(len(shape)))
    base = tuple(
        Affine(tuple(t for t in i.terms if t[0] not in inner), i.constant) + variable(v)
        for i, v in zip(load.index, variables, strict=True)
    )
    value: Expr = Load(buffer, base)
    if source.scope is not Scope.LOCAL:  # a local buffer was made to hold every iteration
        value = _padded(Load(buffer, base), source.shape, dict(zip(variables, shape, strict=True)), fallback)
    fill: Nodes = (Store(name, tuple(variable(variables[d]) for d in order), value),)
    fill = wrap([Loop(variables[d], shape[d], ()) for d in order], fill)
    changed = map_stores(body, lambda s: (replace(s, value=map_expr(s.value, redirect)),))
    is_copy = source.scope is Scope.INPUT and (fallback is None or fallback.value == 0.0)
    copy = Buffer(name, tuple(shape[d] for d in order), scope, is_copy=is_copy)
    return _inserted(program, at, (*fill, *changed), copy)


@dataclass(frozen=True)
class Block:
    """Cut dimension ``dimension`` into tiles of ``factor``, indexed inside a tile by loop ``variable``."""

    dimension: int
    variable: str
    factor: Int


def pack(
    program: LoopProgram, buffer: str, name: str, blocks: tuple[Block, ...], *, is_constant: bool
) -> LoopProgram:
    """Copy a whole operand into tiles that the innermost loops read contiguously, zero-filled at the ends.

    The packed dimensions are those that are cut (they count tiles), the source's others, then one per
    block, so that what a tile reads while the others advance is one stream. A constant operand is packed
    by the prepack part, once per set of weights; any other at each call.

    >>> from codegen.schedule.examples import show, tiled_transpose
    >>> tiled = tiled_transpose(2, 6, 4)
    >>> show(tiled)
    for j0 in range(2):
        for i in range(2):
            for j1 in range(4): if j0*4 + j1 < 6
                c[i, j0*4 + j1] = a[j0*4 + j1, i]
    >>> show(pack(tiled, "a", "p", (Block(0, "j1", 4),), is_constant=False))
    for p_0 in range(2):
        for p_1 in range(2):
            for p_2 in range(4):
                p[p_0, p_1, p_2] = select(0 <= p_0*4 + p_2 < 6, a[p_0*4 + p_2, p_1], 0.0)
    for j0 in range(2):
        for i in range(2):
            for j1 in range(4): if j0*4 + j1 < 6
                c[i, j0*4 + j1] = p[j0, i, j1]
    """
    source = program.buffer(buffer)
    load, fallback = _cached_load(program.body, buffer)
    require(fallback is None, f"{buffer!r} is padded and cannot be packed")
    extents = loop_extents(program.body)
    by_dimension = {block.dimension: block for block in blocks}

    order = sorted(range(len(load.index)), key=lambda d: d not in by_dimension)

    def packed_index(index: tuple[Affine, ...]) -> tuple[Affine, ...]:
        outer = tuple(
            _tile_number(index[d], by_dimension[d]) if d in by_dimension else index[d] for d in order
        )
        return (*outer, *(variable(block.variable) for block in blocks))

    target = packed_index(load.index)
    shape = tuple(i.span(extents) for i in target)
    names = tuple(f"{name}_{d}" for d in range(len(shape)))
    place = {dimension: variable(names[n]) for n, dimension in enumerate(order)}
    inside = {block.dimension: variable(names[len(order) + n]) for n, block in enumerate(blocks)}
    index = tuple(
        place[d] * by_dimension[d].factor + inside[d] if d in by_dimension else place[d]
        for d in range(len(order))
    )
    value = _padded(Load(buffer, index), source.shape, dict(zip(names, shape, strict=True)), None)
    fill: Nodes = (Store(name, tuple(variable(v) for v in names), value),)
    fill = wrap([Loop(v, e, ()) for v, e in zip(names, shape, strict=True)], fill)

    def redirect(expr: Expr) -> Expr | None:
        if isinstance(expr, Load) and expr.buffer == buffer:
            require(expr.index == load.index, f"{buffer!r} is read in two ways; it cannot be packed")
            return Load(name, packed_index(expr.index))
        return None

    changed = map_stores(program.body, lambda s: (replace(s, value=map_expr(s.value, redirect)),))
    if is_constant:
        program = replace(program, body=changed, prepack=(*program.prepack, *fill))
        return replace(program, buffers=(*program.buffers, Buffer(name, shape, Scope.PACKED)))
    return _inserted(program, None, (*fill, *changed), Buffer(name, shape, Scope.GLOBAL))


def _tile_number(index: Affine, block: Block) -> Affine:
    terms = tuple((n, c // block.factor) for n, c in index.terms if n != block.variable)
    return Affine(terms)


def _region_order(index: tuple[Affine, ...], inner: set[str], contiguous: str | None) -> list[int]:
    """Dimensions that inner loops move along, the contiguous one last; one if there are none."""
    moving = [d for d, i in enumerate(index) if inner & set(i.variables)] or [0]
    return sorted(moving, key=lambda d: contiguous in index[d].variables)


def _copy(loops: list[Loop], store: Store, suffix: str) -> Nodes:
    names = {loop.variable: variable(loop.variable + suffix) for loop in loops}
    plain = [Loop(loop.variable, loop.extent, (), guards=loop.guards) for loop in loops]
    return substitute(wrap(plain, (store,)), names)


def _cached_load(body: Nodes, buffer: str) -> tuple[Load, Constant | None]:
    """The read of the buffer and, if it is padded, the value outside."""
    for node in walk_nodes(body):
        if isinstance(node, Store):
            for part in walk(node.value):
                if isinstance(part, Select) and isinstance(part.then, Load) and part.then.buffer == buffer:
                    require(isinstance(part.otherwise, Constant), f"padding of {buffer!r} is not a constant")
                    read = {name for index in part.then.index for name in index.variables}
                    tested = {name for condition in part.conditions for name in condition.index.variables}
                    require(tested <= read, f"padding of {buffer!r} depends on more than where it is read")
                    return part.then, part.otherwise  # type: ignore[return-value]
            for load in loads(node.value):
                if load.buffer == buffer:
                    return load, None
    require(False, f"{buffer!r} is not read here")
    raise AssertionError


def _padded(load: Load, shape: tuple[Int, ...], extents: dict[str, Int], fallback: Constant | None) -> Expr:
    """The load with a test for every dimension that may leave the source."""
    conditions = tuple(
        InRange(index, 0, size)
        for index, size in zip(load.index, shape, strict=True)
        if not _stays_inside(index, size, extents)
    )
    return Select(conditions, load, fallback or Constant(0.0)) if conditions else load


def _stays_inside(index: Affine, size: Int, extents: dict[str, Int]) -> bool:
    if any(name not in extents for name in index.variables):
        return False
    last = index.span(extents) - 1 + index.constant
    return is_known(index.constant, last, size) and index.constant >= 0 and last < size  # type: ignore[operator]


def _inserted(program: LoopProgram, at: str | None, body: tuple[Node, ...], buffer: Buffer) -> LoopProgram:
    if at is None:
        program = replace(program, body=body)
    else:
        program = replace_loop(program, at, lambda loop: (replace(loop, body=body),))
    return replace(program, buffers=(*program.buffers, buffer))
