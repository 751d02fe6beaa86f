"""Loops of one body brought together: join."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from codegen.ir.affine import Affine, variable
from codegen.ir.arithmetic import Int, Symbol
from codegen.ir.expression import loads
from codegen.ir.loops import Loop, LoopProgram, Node, Store, walk_nodes
from codegen.schedule.errors import require
from codegen.schedule.rewrite import Nodes, find_loop, loop_extents, substitute


def join(program: LoopProgram, first: str, second: str) -> LoopProgram:
    """Run the iterations of a later loop at the end of those of an earlier one in the same body.

    What stands between the two, such as the start of a reduction, comes before both.

    >>> from codegen.schedule.examples import show, square_sum
    >>> show(square_sum(4))
    for i in range(4):
        b[i] = a[i] * a[i]
    c[0] = 0.0
    for k in range(4):  # reduction
        c[0] += b[k]
    >>> show(join(square_sum(4), "i", "k"))
    c[0] = 0.0
    for i in range(4):
        b[i] = a[i] * a[i]
        c[0] += b[i]
    """
    one, two = find_loop(program, first), find_loop(program, second)
    require(_is_same(one.extent, two.extent), "loops to join differ in extent")
    require(not one.guards and not two.guards, "loops to join have guards")
    body = _joined(program.body, one, two)
    require(body is not None, f"{second!r} does not follow {first!r} in one body")
    assert body is not None
    return replace(program, body=body)


def _joined(nodes: Nodes, one: Loop, two: Loop) -> Nodes | None:
    """The nodes with the two loops joined, or None if they are not here."""
    if one in nodes and two in nodes:
        start, stop = nodes.index(one), nodes.index(two)
        require(start < stop, f"{two.variable!r} does not come after {one.variable!r}")
        between = nodes[start + 1 : stop]
        moved = substitute(two.body, {two.variable: variable(one.variable)})
        touched = _buffers(between)
        require(not touched & _buffers(one.body), "what stands between the loops depends on the first")
        _require_same_places(one, moved)
        return (*nodes[:start], *between, replace(one, body=(*one.body, *moved)), *nodes[stop + 1 :])
    for position, node in enumerate(nodes):
        if isinstance(node, Loop):
            body = _joined(node.body, one, two)
            if body is not None:
                return (*nodes[:position], replace(node, body=body), *nodes[position + 1 :])
    return None


def _require_same_places(one: Loop, moved: Nodes) -> None:
    """What either body writes and the other accesses, both must access alike in each iteration."""
    written = _stored(one.body) & _buffers(moved) | _stored(moved) & _buffers(one.body)
    extents = loop_extents((*one.body, *moved))
    for buffer in written:
        first, *others = [*_indices(one.body, buffer), *_indices(moved, buffer)]
        is_own = any(one.variable in affine.variables for affine in first)
        alike = all(_is_alike(a, b, extents) for index in others for a, b in zip(first, index, strict=True))
        require(is_own and alike, f"{buffer!r} is not accessed alike in the loops to join")


def _is_alike(left: Affine, right: Affine, extents: Mapping[str, Int]) -> bool:
    """Equality up to the names of inner loops, whose extents must agree."""
    inner = [
        (
            Affine(tuple((n, c) for n, c in index.terms if n not in extents), index.constant),
            [number for n, c in index.terms if n in extents for number in (c, extents[n])],
        )
        for index in (left, right)
    ]
    (one, numbers), (two, others) = inner
    same = len(numbers) == len(others) and all(map(_is_same, numbers, others))
    pairs = zip((*(c for _, c in one.terms), one.constant), (*(c for _, c in two.terms), two.constant))
    return same and one.variables == two.variables and all(_is_same(a, b) for a, b in pairs)


def _is_same(left: Int | str, right: Int | str) -> bool:
    """Equality; recorded arithmetic is equal if it is the same arithmetic on the same knobs."""
    if isinstance(left, Symbol) and isinstance(right, Symbol):
        same = left.operation == right.operation and len(left.operands) == len(right.operands)
        return left is right or (same and all(map(_is_same, left.operands, right.operands)))
    if isinstance(left, Symbol) or isinstance(right, Symbol):
        return False
    return bool(np.all(np.asarray(left) == np.asarray(right)))


def _stored(nodes: Nodes) -> set[str]:
    return {node.buffer for node in walk_nodes(nodes) if isinstance(node, Store)}


def _buffers(nodes: tuple[Node, ...]) -> set[str]:
    stores = [node for node in walk_nodes(nodes) if isinstance(node, Store)]
    return {store.buffer for store in stores} | {load.buffer for s in stores for load in loads(s.value)}


def _indices(nodes: Nodes, buffer: str) -> list[tuple[Affine, ...]]:
    stores = [node for node in walk_nodes(nodes) if isinstance(node, Store)]
    found = [store.index for store in stores if store.buffer == buffer]
    return found + [load.index for s in stores for load in loads(s.value) if load.buffer == buffer]
