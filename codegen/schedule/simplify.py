"""Removing from a concrete loop AST what always holds: guards, conditions, loops of one iteration."""

from __future__ import annotations

from dataclasses import replace

from codegen.ir.affine import Affine
from codegen.ir.arithmetic import Int, is_known
from codegen.ir.expression import Expr, InRange, Select
from codegen.ir.loops import Guard, Loop, LoopProgram, Node, Store
from codegen.schedule.rewrite import Nodes, map_expr, substitute


def simplify_loops(program: LoopProgram) -> LoopProgram:
    """The same program with proven guards and conditions and single-iteration loops gone.

    Serial and parallel loops of one iteration disappear; unrolled and vectorized ones stay, since
    they number the elements of register buffers.
    """
    body = _simplify(program.body, {})
    return replace(program, body=body, prepack=_simplify(program.prepack, {}))


def _simplify(nodes: Nodes, extents: dict[str, Int]) -> Nodes:
    result: list[Node] = []
    for node in nodes:
        if isinstance(node, Store):
            value = map_expr(node.value, lambda expr: _without_conditions(expr, extents))
            result.append(replace(node, value=value))
        elif isinstance(node, Loop):
            result.extend(_simplify_loop(node, extents))
        else:
            then, otherwise = _simplify(node.then, extents), _simplify(node.otherwise, extents)
            result.append(replace(node, then=then, otherwise=otherwise))
    return tuple(result)


def _simplify_loop(loop: Loop, extents: dict[str, Int]) -> Nodes:
    inside = {**extents, loop.variable: loop.extent}
    guards = tuple(guard for guard in loop.guards if not _holds(guard, inside))
    if loop.extent == 1 and not guards and loop.kind.value in ("for", "parallel"):
        return _simplify(substitute(loop.body, {loop.variable: Affine()}), extents)
    return (replace(loop, guards=guards, body=_simplify(loop.body, inside)),)


def _without_conditions(expr: Expr, extents: dict[str, Int]) -> Expr | None:
    if not isinstance(expr, Select):
        return None
    conditions = tuple(c for c in expr.conditions if not _is_inside(c, extents))
    then = map_expr(expr.then, lambda part: _without_conditions(part, extents))
    return Select(conditions, then, expr.otherwise) if conditions else then


def _greatest(index: Affine, extents: dict[str, Int]) -> int | None:
    if not is_known(index.constant, *(c for _, c in index.terms)):
        return None
    if any(name not in extents or c < 0 for name, c in index.terms):  # type: ignore[operator]
        return None
    last = index.span(extents) - 1 + index.constant
    return last if isinstance(last, int) else None


def _holds(guard: Guard, extents: dict[str, Int]) -> bool:
    greatest = _greatest(guard.index, extents)
    return greatest is not None and is_known(guard.bound) and greatest < guard.bound  # type: ignore[operator]


def _is_inside(condition: InRange, extents: dict[str, Int]) -> bool:
    greatest = _greatest(condition.index, extents)
    if greatest is None or not is_known(condition.low, condition.high, condition.index.constant):
        return False
    least = condition.index.constant
    return condition.low <= least and greatest < condition.high  # type: ignore[operator]
