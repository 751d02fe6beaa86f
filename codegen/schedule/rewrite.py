"""Finding and replacing parts of a loop AST; every function returns new trees."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from codegen.ir.affine import Affine, variable
from codegen.ir.arithmetic import Int
from codegen.ir.expression import Binary, Expr, InRange, Load, Select, Unary
from codegen.ir.loops import Guard, If, Loop, LoopProgram, Node, Store, walk_nodes
from codegen.schedule.errors import require

Nodes = tuple[Node, ...]


def map_expr(expr: Expr, change: Callable[[Expr], Expr | None]) -> Expr:
    """An expression where what ``change`` returns stands instead of the part; parts without any are kept."""
    changed = change(expr)
    if changed is not None:
        return changed
    if isinstance(expr, Unary):
        operand = map_expr(expr.operand, change)
        return expr if operand is expr.operand else Unary(expr.op, operand)
    if isinstance(expr, Binary):
        left, right = map_expr(expr.left, change), map_expr(expr.right, change)
        return expr if left is expr.left and right is expr.right else Binary(expr.op, left, right)
    if isinstance(expr, Select):
        then, otherwise = map_expr(expr.then, change), map_expr(expr.otherwise, change)
        is_kept = then is expr.then and otherwise is expr.otherwise
        return expr if is_kept else Select(expr.conditions, then, otherwise)
    return expr


def substitute_expr(expr: Expr, values: Mapping[str, Affine]) -> Expr:
    """Replace loop variables in every index and condition."""

    def change(part: Expr) -> Expr | None:
        if isinstance(part, Load):
            return Load(part.buffer, tuple(i.substitute(values) for i in part.index))
        if isinstance(part, Select):
            then, otherwise = map_expr(part.then, change), map_expr(part.otherwise, change)
            return Select(_substitute_conditions(part.conditions, values), then, otherwise)
        return None

    return map_expr(expr, change) if values else expr


def substitute(nodes: Nodes, values: Mapping[str, Affine]) -> Nodes:
    """Replace loop variables inside nodes; a loop's own variable is renamed if it maps to a variable."""
    return tuple(_substitute_node(node, values) for node in nodes)


def rename(nodes: Nodes, suffix: str) -> tuple[Nodes, dict[str, str]]:
    """A copy whose own loop variables carry a suffix, and the mapping from old to new names."""
    names = {n.variable: n.variable + suffix for n in walk_nodes(nodes) if isinstance(n, Loop)}
    return substitute(nodes, {old: variable(new) for old, new in names.items()}), names


def find_loop(program: LoopProgram, name: str) -> Loop:
    """The loop over that variable in the body (not in the prepack part)."""
    for node in walk_nodes(program.body):
        if isinstance(node, Loop) and node.variable == name:
            return node
    require(False, f"there is no loop {name!r}; loops are {list(loop_extents(program.body))}")
    raise AssertionError


def replace_loop(program: LoopProgram, name: str, change: Callable[[Loop], Nodes]) -> LoopProgram:
    """Put ``change(loop)`` where the loop over ``name`` stands."""
    body = _replace(program.body, name, change)
    if body is None:
        find_loop(program, name)
    assert body is not None
    return replace(program, body=body)


def loop_extents(nodes: Nodes) -> dict[str, Int]:
    """Extent of every loop in the nodes, outer first."""
    return {n.variable: n.extent for n in walk_nodes(nodes) if isinstance(n, Loop)}


def scope_extents(nodes: Nodes, name: str) -> dict[str, Int]:
    """Extents of the loops around, and including, the loop over ``name``."""
    for node in nodes:
        if isinstance(node, Loop):
            if node.variable == name:
                return {name: node.extent}
            inside = scope_extents(node.body, name)
            if inside:
                return {node.variable: node.extent, **inside}
        elif isinstance(node, If):
            inside = scope_extents((*node.then, *node.otherwise), name)
            if inside:
                return inside
    return {}


def is_same_affine(left: Affine, right: Affine) -> bool:
    """Equality also where coefficients are arrays; symbols are equal only to themselves."""
    if left.variables != right.variables:
        return False
    numbers = zip(
        (*(c for _, c in left.terms), left.constant), (*(c for _, c in right.terms), right.constant)
    )
    return all(a is b or bool(np.all(np.equal(a, b))) for a, b in numbers)  # type: ignore[call-overload]


def stores_to(nodes: Nodes, buffer: str) -> list[Store]:
    """Every store to the buffer, in order."""
    return [n for n in walk_nodes(nodes) if isinstance(n, Store) and n.buffer == buffer]


def map_stores(nodes: Nodes, change: Callable[[Store], Nodes]) -> Nodes:
    """Put ``change(store)`` where each store stands."""
    result: list[Node] = []
    for node in nodes:
        if isinstance(node, Store):
            result.extend(change(node))
        elif isinstance(node, Loop):
            result.append(replace(node, body=map_stores(node.body, change)))
        else:
            then, otherwise = map_stores(node.then, change), map_stores(node.otherwise, change)
            result.append(replace(node, then=then, otherwise=otherwise))
    return tuple(result)


def chain(loop: Loop) -> tuple[list[Loop], Nodes]:
    """The perfect nest that starts at a loop, outer first, and the nodes inside its last loop."""
    loops = [loop]
    while len(loops[-1].body) == 1 and isinstance(loops[-1].body[0], Loop):
        loops.append(loops[-1].body[0])
    return loops, loops[-1].body


def wrap(loops: list[Loop], body: Nodes) -> Nodes:
    """The nodes inside a nest of the given loops, outer first."""
    for loop in reversed(loops):
        body = (replace(loop, body=body),)
    return body


def _replace(nodes: Nodes, name: str, change: Callable[[Loop], Nodes]) -> Nodes | None:
    """The nodes with the loop replaced, or None where it does not occur: only the path to it is rebuilt."""
    for place, node in enumerate(nodes):
        changed: Nodes | None = None
        if isinstance(node, Loop):
            if node.variable == name:
                changed = change(node)
            else:
                body = _replace(node.body, name, change)
                changed = None if body is None else (replace(node, body=body),)
        elif isinstance(node, If):
            then, otherwise = _replace(node.then, name, change), _replace(node.otherwise, name, change)
            if then is not None or otherwise is not None:
                changed = (replace(node, then=then or node.then, otherwise=otherwise or node.otherwise),)
        if changed is not None:
            return (*nodes[:place], *changed, *nodes[place + 1 :])
    return None


def _substitute_node(node: Node, values: Mapping[str, Affine]) -> Node:
    if isinstance(node, Store):
        index = tuple(i.substitute(values) for i in node.index)
        return Store(node.buffer, index, substitute_expr(node.value, values), node.reducer)
    if isinstance(node, If):
        conditions = _substitute_conditions(node.conditions, values)
        return If(conditions, substitute(node.then, values), substitute(node.otherwise, values))
    name = values[node.variable].variables[0] if node.variable in values else node.variable
    guards = tuple(Guard(g.index.substitute(values), g.bound) for g in node.guards)
    return replace(node, variable=name, guards=guards, body=substitute(node.body, values))


def _substitute_conditions(
    conditions: tuple[InRange, ...], values: Mapping[str, Affine]
) -> tuple[InRange, ...]:
    return tuple(InRange(c.index.substitute(values), c.low, c.high) for c in conditions)
