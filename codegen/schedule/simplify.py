"""Removing from a concrete loop AST what always holds: guards, conditions, loops of one iteration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from codegen.ir.affine import Affine
from codegen.ir.arithmetic import Int
from codegen.ir.expression import Expr, InRange, Select
from codegen.ir.loops import Guard, If, Loop, LoopKind, LoopProgram, Node, Store
from codegen.schedule.rewrite import Nodes, map_expr, substitute_expr


@dataclass(frozen=True)
class _Scope:
    """What holds inside the loops around a node: extents of their variables, and their guards.

    ``gone`` holds the variables of loops that were dropped: they are 0.
    """

    extents: dict[str, Int]
    guards: tuple[Guard, ...] = ()
    gone: Mapping[str, Affine] = field(default_factory=dict)


def simplify_loops(program: LoopProgram) -> LoopProgram:
    """The same program with proven guards and conditions and single-iteration loops gone.

    Serial and parallel loops of one iteration disappear; unrolled and vectorized ones stay, since
    they number the elements of register buffers. Needs a concrete tree: all extents are ints.
    """
    body = _simplify(program.body, _Scope({}))
    return replace(program, body=body, prepack=_simplify(program.prepack, _Scope({})))


def _simplify(nodes: Nodes, scope: _Scope) -> Nodes:
    result: list[Node] = []
    for node in nodes:
        if isinstance(node, Store):
            index = tuple(affine.substitute(scope.gone) for affine in node.index)
            value = substitute_expr(node.value, scope.gone)
            value = map_expr(value, lambda expr: _without_conditions(expr, scope))
            result.append(Store(node.buffer, index, value, node.reducer))
        elif isinstance(node, Loop):
            result.extend(_simplify_loop(node, scope))
        else:
            conditions = tuple(replace(c, index=c.index.substitute(scope.gone)) for c in node.conditions)
            then, otherwise = _simplify(node.then, scope), _simplify(node.otherwise, scope)
            result.append(If(conditions, then, otherwise))
    return tuple(result)


def _simplify_loop(loop: Loop, scope: _Scope) -> Nodes:
    extents = {**scope.extents, loop.variable: loop.extent}
    present = (replace(guard, index=guard.index.substitute(scope.gone)) for guard in loop.guards)
    guards = tuple(
        guard for guard in present if not _holds(guard, extents) and not _follows(guard, loop, scope.guards)
    )
    if loop.extent == 1 and not guards and loop.kind in (LoopKind.SERIAL, LoopKind.PARALLEL):
        return _simplify(loop.body, replace(scope, gone={**scope.gone, loop.variable: Affine()}))
    inside = _Scope(extents, (*scope.guards, *guards), scope.gone)
    return (replace(loop, guards=guards, body=_simplify(loop.body, inside)),)


def _without_conditions(expr: Expr, scope: _Scope) -> Expr | None:
    if not isinstance(expr, Select):
        return None
    conditions = tuple(c for c in expr.conditions if not _is_inside(c, scope))
    then = map_expr(expr.then, lambda part: _without_conditions(part, scope))
    return Select(conditions, then, expr.otherwise) if conditions else then


def _greatest(index: Affine, extents: dict[str, Int]) -> int | None:
    if any(name not in extents or _int(c) < 0 for name, c in index.terms):
        return None
    return _int(index.span(extents)) - 1 + _int(index.constant)


def _holds(guard: Guard, extents: dict[str, Int]) -> bool:
    greatest = _greatest(guard.index, extents)
    return greatest is not None and greatest < _int(guard.bound)


def _follows(guard: Guard, loop: Loop, outer: tuple[Guard, ...]) -> bool:
    """Whether a guard further out implies this one, because the tile divides what it tiles.

    If the start of a tile is below the bound, and starts and bound are multiples of the tile, then the
    whole tile is below the bound.
    """
    start = Affine(tuple(t for t in guard.index.terms if t[0] != loop.variable), guard.index.constant)
    tile = _int(guard.index.coefficient(loop.variable)) * _int(loop.extent)
    numbers = (guard.bound, start.constant, *(c for _, c in start.terms))
    divides = loop.extent == 1 or all(_int(number) % tile == 0 for number in numbers)
    return divides and any(
        set(start.terms) == set(known.index.terms)
        and start.constant == known.index.constant
        and _int(known.bound) <= _int(guard.bound)
        for known in outer
    )


def _is_inside(condition: InRange, scope: _Scope) -> bool:
    """Whether extents, or a guard on a part of the index, keep it in range."""
    index = condition.index
    if _greatest(index, scope.extents) is None or _int(condition.low) > _int(index.constant):
        return False
    bounds = [_greatest(index, scope.extents)]
    for guard in scope.guards:
        rest = _greatest(index - guard.index, scope.extents)
        bounds.append(None if rest is None else _int(guard.bound) - 1 + rest)
    return any(bound is not None and bound < _int(condition.high) for bound in bounds)


def _int(value: Int) -> int:
    assert isinstance(value, int), "only a concrete loop AST can be simplified"
    return value
