"""Nested loops run as one: fewer blocks to compile and to step through."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import cast

from codegen.ir.affine import Affine
from codegen.ir.expression import Expr, Load, Select, loads, walk
from codegen.ir.loops import Buffer, If, Loop, LoopKind, Node, Scope, Store, row_major_strides, walk_nodes
from codegen.llvm.planning_access import flatten
from codegen.schedule.rewrite import map_expr


def collapse(nodes: tuple[Node, ...], buffers: Mapping[str, Buffer]) -> tuple[Node, ...]:
    """Merge a serial loop with the only one inside it where all accesses step evenly through both.

    As when weights are packed: their channels, rows and columns lie one after the other in the source and in
    the copy. Indices inside are then flat, all in the last dimension.
    """
    return tuple(_collapsed(node, buffers) for node in nodes)


def _collapsed(node: Node, buffers: Mapping[str, Buffer]) -> Node:
    if isinstance(node, If):
        return replace(node, then=collapse(node.then, buffers), otherwise=collapse(node.otherwise, buffers))
    if not isinstance(node, Loop) or node.kind in (LoopKind.UNROLLED, LoopKind.VECTORIZED):
        return node
    loop = replace(node, body=collapse(node.body, buffers))
    inner = loop.body[0]
    if len(loop.body) > 1 or not (isinstance(inner, Loop) and _is_plain(loop) and _is_plain(inner)):
        return loop
    if not _is_even(loop, inner, buffers):
        return loop
    extent = cast(int, loop.extent) * cast(int, inner.extent)
    body = tuple(_without(part, loop.variable, buffers) for part in inner.body)
    return replace(inner, extent=extent, body=body, is_reduction=loop.is_reduction or inner.is_reduction)


def _is_plain(loop: Loop) -> bool:
    return loop.kind is LoopKind.SERIAL and not loop.guards and loop.unroll == 1


def _is_even(outer: Loop, inner: Loop, buffers: Mapping[str, Buffer]) -> bool:
    """Whether the two variables are used in accesses to memory alone, at strides that continue each other."""
    names = {outer.variable, inner.variable}
    for buffer, index in _accesses(inner):
        if not names & {name for affine in index for name in affine.variables}:
            continue
        if buffers[buffer].scope in (Scope.REGISTER, Scope.TABLE):
            return False
        offset = _flat(buffers[buffer], index)
        step = cast(int, offset.coefficient(inner.variable)) * cast(int, inner.extent)
        if offset.coefficient(outer.variable) != step:
            return False
    return not any(names & set(index.variables) for index in _tested(inner))


def _tested(loop: Loop) -> Iterator[Affine]:
    """What guards and conditions inside compare."""
    for node in walk_nodes(loop.body):
        if isinstance(node, Loop):
            yield from (guard.index for guard in node.guards)
        elif isinstance(node, If):
            yield from (condition.index for condition in node.conditions)
        else:
            for part in walk(node.value):
                if isinstance(part, Select):
                    yield from (condition.index for condition in part.conditions)


def _accesses(loop: Loop) -> Iterator[tuple[str, tuple[Affine, ...]]]:
    for node in walk_nodes(loop.body):
        if isinstance(node, Store):
            yield node.buffer, node.index
            yield from ((load.buffer, load.index) for load in loads(node.value))


def _flat(buffer: Buffer, index: tuple[Affine, ...]) -> Affine:
    return flatten(index, cast(tuple[int, ...], row_major_strides(buffer.shape)))


def _without(node: Node, variable: str, buffers: Mapping[str, Buffer]) -> Node:
    """The node with flat indices where the variable was used, whose part the other one takes over."""

    def moved(buffer: str, index: tuple[Affine, ...]) -> tuple[Affine, ...]:
        if not any(variable in affine.variables for affine in index):
            return index
        offset = _flat(buffers[buffer], index)
        terms = tuple(term for term in offset.terms if term[0] != variable)
        return (*(Affine() for _ in index[1:]), Affine(terms, offset.constant))

    def moved_load(expr: Expr) -> Expr | None:
        return Load(expr.buffer, moved(expr.buffer, expr.index)) if isinstance(expr, Load) else None

    if isinstance(node, Store):
        value = map_expr(node.value, moved_load)
        return replace(node, index=moved(node.buffer, node.index), value=value)
    if isinstance(node, Loop):
        return replace(node, body=tuple(_without(part, variable, buffers) for part in node.body))
    return replace(
        node,
        then=tuple(_without(part, variable, buffers) for part in node.then),
        otherwise=tuple(_without(part, variable, buffers) for part in node.otherwise),
    )
