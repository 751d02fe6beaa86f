"""Primitives that bring several stages into one nest: fuse, make_local, factor_reduction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import cast

from codegen.ir.affine import Affine, variable
from codegen.ir.arithmetic import Int, is_known
from codegen.ir.expression import IDENTITY, Constant, Expr, Load, loads
from codegen.ir.loops import Buffer, Loop, LoopProgram, Scope, Store, walk_nodes
from codegen.schedule.errors import require
from codegen.schedule.rewrite import (
    Nodes,
    chain,
    find_loop,
    is_same_affine,
    loop_extents,
    map_expr,
    map_stores,
    replace_loop,
    stores_to,
    substitute,
    wrap,
)


def fuse(program: LoopProgram, names: tuple[str, ...]) -> LoopProgram:
    """Run loops of equal extent that stand next to each other as one loop, the first.

    >>> from codegen.schedule.examples import scaled_relu, show
    >>> show(scaled_relu(4))
    for i in range(4):
        b[i] = a[i] * 2.0
    for c_i in range(4):
        c[c_i] = max(b[c_i], 0.0)
    >>> show(fuse(scaled_relu(4), ("i", "c_i")))
    for i in range(4):
        b[i] = a[i] * 2.0
        c[i] = max(b[i], 0.0)
    """
    loops = [find_loop(program, name) for name in names]
    siblings = [node for node in _siblings(program.body, loops[0]) if isinstance(node, Loop)]
    positions = [siblings.index(loop) for loop in loops if loop in siblings]
    is_row = positions == list(range(positions[0], positions[0] + len(names))) if positions else False
    require(is_row and len(positions) == len(names), f"{list(names)} do not stand next to each other")
    extents = [loop.extent for loop in loops]
    require(is_known(*extents) and len(set(extents)) == 1, f"loops to fuse have extents {extents}")
    first = variable(names[0])
    bodies = [substitute(loop.body, {loop.variable: first}) for loop in loops]
    _require_same_iterations(bodies, names[0])
    merged = replace(loops[0], body=tuple(node for body in bodies for node in body))
    for name in names[1:]:
        program = replace_loop(program, name, lambda _: ())
    return replace_loop(program, names[0], lambda _: (merged,))


def make_local(program: LoopProgram, at: str, buffer: str, scope: Scope = Scope.LOCAL) -> LoopProgram:
    """Keep only the part of an intermediate buffer that one iteration of loop ``at`` writes and reads.

    What is read so many elements after the one that is written must lie in the part too.

    >>> from codegen.schedule.examples import scaled_relu, show
    >>> fused = fuse(scaled_relu(4), ("i", "c_i"))
    >>> show(fused)
    for i in range(4):
        b[i] = a[i] * 2.0
        c[i] = max(b[i], 0.0)
    >>> show(make_local(fused, "i", "b"))
    for i in range(4):
        b[0] = a[i] * 2.0
        c[i] = max(b[0], 0.0)
    """
    require(program.buffer(buffer).scope is Scope.GLOBAL, f"{buffer!r} is not an intermediate result")
    body = find_loop(program, at).body
    require(
        _num_loads(program.body, buffer) == _num_loads(body, buffer),
        f"{buffer!r} is also read outside {at!r}",
    )
    num_stores = len(stores_to(program.body, buffer))
    require(len(stores_to(body, buffer)) == num_stores, f"{buffer!r} is also written outside {at!r}")
    extents = loop_extents(body)
    inner = set(extents)
    index = stores_to(body, buffer)[0].index
    kept = [d for d, i in enumerate(index) if inner & set(i.variables)] or [0]
    shape = tuple(index[d].only(inner).span(extents) for d in kept)

    def redirect(expr: Expr) -> Expr | None:
        if not isinstance(expr, Load) or expr.buffer != buffer:
            return None
        parts = []
        for d, (read, written) in enumerate(zip(expr.index, index, strict=True)):
            part = read.only(inner)
            start, base = _without(read, inner), _without(written, inner)
            if d in kept and not is_same_affine(start, base):
                part = part + (start - base)
                start = base if _is_covered(part, extents, shape[kept.index(d)]) else start
            require(
                is_same_affine(start, base),
                f"{buffer!r} is read elsewhere than where an iteration of {at!r} writes it",
            )
            parts += [part] if d in kept else []
        return Load(buffer, tuple(parts))

    def change(store: Store) -> Nodes:
        changed = replace(store, value=map_expr(store.value, redirect))
        if store.buffer == buffer:
            changed = replace(changed, index=tuple(store.index[d].only(inner) for d in kept))
        return (changed,)

    program = replace_loop(program, at, lambda loop: (replace(loop, body=map_stores(loop.body, change)),))
    buffers = tuple(Buffer(buffer, shape, scope) if b.name == buffer else b for b in program.buffers)
    return replace(program, buffers=buffers)


def factor_reduction(program: LoopProgram, outer: str, inner: str, name: str) -> LoopProgram:
    """Reduce into one partial result per iteration of ``inner``, and those into the result at the end.

    Ansor's rfactor: it lets a reduction run along vector lanes. The loops around the partial results
    carry the suffixes ``_zero`` and ``_last``.

    >>> from codegen.schedule.examples import row_sum, show
    >>> from codegen.schedule.primitives.loops import split
    >>> tiled = split(row_sum(2, 8), "k", 4, ("k0", "k1"))
    >>> show(tiled)
    for i in range(2):
        c[i] = 0.0
        for k0 in range(2):  # reduction
            for k1 in range(4):  # reduction
                c[i] += a[i, k0*4 + k1]
    >>> show(factor_reduction(tiled, "k0", "k1", "part"))
    for i in range(2):
        c[i] = 0.0
        for k1_zero in range(4):
            part[k1_zero] = 0.0
        for k0 in range(2):  # reduction
            for k1 in range(4):  # reduction
                part[k1] += a[i, k0*4 + k1]
        for k1_last in range(4):  # reduction
            c[i] += part[k1_last]
    """
    loops, inside = chain(find_loop(program, outer))
    require([loop.variable for loop in loops] == [outer, inner], f"{inner!r} is not right inside {outer!r}")
    require(len(inside) == 1 and isinstance(inside[0], Store), f"{inner!r} does not hold one reduction")
    store = inside[0]
    assert isinstance(store, Store)
    require(store.reducer is not None, f"{inner!r} does not hold one reduction")
    assert store.reducer is not None
    lane = loops[1]
    zero, last = f"{inner}_zero", f"{inner}_last"
    start = Store(name, (variable(zero),), Constant(IDENTITY[store.reducer]))
    update = Store(name, (variable(inner),), store.value, store.reducer)
    finish = Store(store.buffer, store.index, Load(name, (variable(last),)), store.reducer)
    nests: Nodes = (
        Loop(zero, lane.extent, (start,)),
        *wrap(loops, (update,)),
        Loop(last, lane.extent, (finish,), is_reduction=True),
    )
    program = replace_loop(program, outer, lambda _: nests)
    return replace(program, buffers=(*program.buffers, Buffer(name, (lane.extent,), Scope.REGISTER)))


def _siblings(nodes: Nodes, loop: Loop) -> Nodes:
    """The nodes that a loop stands among."""
    if loop in nodes:
        return nodes
    inside = (_siblings(node.body, loop) for node in nodes if isinstance(node, Loop))
    return next(filter(None, inside), ())


def _require_same_iterations(bodies: list[Nodes], name: str) -> None:
    """What one body writes and another accesses must be numbered by the fused loop: row i by iteration i."""
    stored = [{n.buffer for n in walk_nodes(body) if isinstance(n, Store)} for body in bodies]
    accesses = [_accesses(body) for body in bodies]
    for writer, buffers in enumerate(stored):
        for buffer in buffers:
            others = [
                found[buffer] for body, found in enumerate(accesses) if body != writer and buffer in found
            ]
            if not others:
                continue
            indices = [index for found in (accesses[writer][buffer], *others) for index in found]
            is_row = any(
                dimension[0].variables == (name,)
                and all(is_same_affine(dimension[0], other) for other in dimension[1:])
                for dimension in zip(*indices, strict=True)
            )
            require(is_row, f"{buffer!r} is not accessed alike in the loops to fuse")


def _accesses(nodes: Nodes) -> dict[str, list[tuple[Affine, ...]]]:
    """Every index of every buffer that the nodes read or write."""
    found: dict[str, list[tuple[Affine, ...]]] = {}
    for node in walk_nodes(nodes):
        if isinstance(node, Store):
            found.setdefault(node.buffer, []).append(node.index)
            for load in loads(node.value):
                found.setdefault(load.buffer, []).append(load.index)
    return found


def _is_covered(index: Affine, extents: Mapping[str, Int], size: Int) -> bool:
    """Whether an index is known to stay below a size and not below zero."""
    most = index.span(extents)
    is_inside = is_known(most, size, index.constant) and set(index.variables) <= set(extents)
    return (
        is_inside and cast(int, index.constant) >= 0 and cast(int, most + index.constant) <= cast(int, size)
    )


def _num_loads(nodes: Nodes, buffer: str) -> int:
    stores = [node for node in walk_nodes(nodes) if isinstance(node, Store)]
    return sum(load.buffer == buffer for store in stores for load in loads(store.value))


def _without(index: Affine, inner: set[str]) -> Affine:
    """The part of an index that stays while the inner loops run."""
    return Affine(tuple(term for term in index.terms if term[0] not in inner), index.constant)
