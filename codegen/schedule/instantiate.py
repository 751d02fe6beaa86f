"""Filling knob values into a loop AST whose arithmetic was recorded."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import replace

from codegen.ir.affine import Affine
from codegen.ir.arithmetic import Int, Symbol
from codegen.ir.expression import Expr, InRange, Load, Select
from codegen.ir.loops import Guard, Loop, LoopProgram, Node, Store
from codegen.schedule.rewrite import Nodes, map_expr

_OPERATIONS: dict[str, Callable[[int, int], int]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "floordiv": operator.floordiv,
    "min": min,
    "max": max,
}


def instantiate(loops: LoopProgram, values: Mapping[str, int]) -> LoopProgram:
    """The concrete tree for int knob values; each recorded operation is computed once."""
    known: dict[Symbol, int] = {}

    def number(value: Int) -> int:
        if not isinstance(value, Symbol):
            assert isinstance(value, int)
            return value
        if value not in known:
            if value.operation == "input":
                known[value] = values[str(value.operands[0])]
            else:
                left, right = (number(operand) for operand in value.operands)  # type: ignore[arg-type]
                known[value] = _OPERATIONS[value.operation](left, right)
        return known[value]

    buffers = tuple(replace(b, shape=tuple(number(n) for n in b.shape)) for b in loops.buffers)
    filler = _Filler(number)
    return replace(loops, buffers=buffers, body=filler.nodes(loops.body), prepack=filler.nodes(loops.prepack))


class _Filler:
    """Rebuilds nodes with every integer passed through ``number``; what is plain already is kept as it is."""

    def __init__(self, number: Callable[[Int], int]) -> None:
        self._number = number

    def nodes(self, nodes: Nodes) -> Nodes:
        return tuple(self._node(node) for node in nodes)

    def _node(self, node: Node) -> Node:
        if isinstance(node, Store):
            index, value = self._index(node.index), map_expr(node.value, self._expr)
            is_kept = index is node.index and value is node.value
            return node if is_kept else Store(node.buffer, index, value, node.reducer)
        if isinstance(node, Loop):
            return Loop(
                node.variable,
                self._number(node.extent),
                self.nodes(node.body),
                node.kind,
                tuple(Guard(self._affine(g.index), self._number(g.bound)) for g in node.guards),
                self._number(node.unroll),
                node.is_reduction,
                node.fetches,
            )
        return replace(
            node,
            conditions=self._conditions(node.conditions),
            then=self.nodes(node.then),
            otherwise=self.nodes(node.otherwise),
        )

    def _expr(self, expr: Expr) -> Expr | None:
        if isinstance(expr, Load):
            index = self._index(expr.index)
            return expr if index is expr.index else Load(expr.buffer, index)
        if isinstance(expr, Select):
            then, otherwise = map_expr(expr.then, self._expr), map_expr(expr.otherwise, self._expr)
            return Select(self._conditions(expr.conditions), then, otherwise)
        return None

    def _conditions(self, conditions: tuple[InRange, ...]) -> tuple[InRange, ...]:
        number = self._number
        return tuple(InRange(self._affine(c.index), number(c.low), number(c.high)) for c in conditions)

    def _index(self, index: tuple[Affine, ...]) -> tuple[Affine, ...]:
        return index if all(map(_is_plain, index)) else tuple(self._affine(i) for i in index)

    def _affine(self, affine: Affine) -> Affine:
        if _is_plain(affine):
            return affine
        terms = tuple((name, self._number(c)) for name, c in affine.terms)
        return Affine(tuple(t for t in terms if t[1] != 0), self._number(affine.constant))


def _is_plain(affine: Affine) -> bool:
    return isinstance(affine.constant, int) and not any(
        isinstance(c, Symbol) or c == 0 for _, c in affine.terms
    )
