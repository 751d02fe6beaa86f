"""Text forms: programs as canonical definitions, loop ASTs as Python-like loops."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from codegen.ir.affine import Affine
from codegen.ir.arithmetic import Int
from codegen.ir.expression import (
    Axis,
    Binary,
    Constant,
    Expr,
    InRange,
    Load,
    Program,
    Stage,
    Unary,
)
from codegen.ir.loops import Buffer, Guard, If, Loop, LoopKind, LoopProgram, Node, Store

_INFIX = {"add": "+", "sub": "-", "mul": "*", "div": "/"}
_REDUCERS = {"sum": "+=", "max": "max="}


def program_text(program: Program) -> str:
    """The definition as text: the name on the first line, then what the structural hash covers.

    Axis names do not matter, so output axes print as i0, i1, ... and reduction axes as r0, r1, ...
    """
    lines = [f"program {program.name}"]
    for tensor in program.inputs:
        role = "constant" if tensor.is_constant else "input"
        lines.append(f"{role} {tensor.name}{list(tensor.shape)}")
    lines.extend(_stage_text(stage) for stage in program.stages)
    return "\n".join(lines) + "\n"


def loop_text(loops: LoopProgram) -> str:
    """The loop AST as indented text: buffers, then the prepack part if there is one, then the body.

    Ints print plainly; the arrays and symbols of a batch print as ``?``.
    """
    lines = [f"program {loops.name}"]
    lines.extend(_buffer_text(buffer) for buffer in loops.buffers)
    if loops.prepack:
        lines.append("prepack:")
        lines.extend(_node_lines(loops.prepack, 1))
    lines.append("body:")
    lines.extend(_node_lines(loops.body, 1))
    return "\n".join(lines) + "\n"


def nodes_text(nodes: tuple[Node, ...]) -> str:
    """A part of a loop AST, without buffers."""
    return "\n".join(_node_lines(nodes, 0)) + "\n"


def expression_text(expr: Expr) -> str:
    """A scalar expression; operands that are themselves infix are in parentheses."""
    return _expression(expr, {})


def affine_text(affine: Affine) -> str:
    """An index such as ``ow0*16 + ow1 - 1``, terms in their order."""
    return _affine(affine, {})


def _stage_text(stage: Stage) -> str:
    names = {axis.name: f"i{position}" for position, axis in enumerate(stage.axes)}
    names |= {axis.name: f"r{position}" for position, axis in enumerate(stage.reduce_axes)}
    head = f"{stage.output.name}[{_axes_text(stage.axes, names)}] = "
    if stage.reducer is not None:
        head += f"{stage.reducer}[{_axes_text(stage.reduce_axes, names)}] "
    return head + _expression(stage.value, names)


def _axes_text(axes: tuple[Axis, ...], names: Mapping[str, str]) -> str:
    return ", ".join(f"{names[axis.name]}<{axis.extent}" for axis in axes)


def _buffer_text(buffer: Buffer) -> str:
    text = f"{buffer.scope.value} {buffer.name}[{', '.join(_int(size) for size in buffer.shape)}]"
    text += f" = {', '.join(map(repr, buffer.values))}" if buffer.values else ""
    return text + "  # streamed" if buffer.is_streamed else text


def _node_lines(nodes: tuple[Node, ...], depth: int) -> list[str]:
    lines = []
    for node in nodes:
        indent = "    " * depth
        if isinstance(node, Store):
            lines.append(indent + _store_text(node))
        elif isinstance(node, Loop):
            lines.append(indent + _loop_head(node))
            lines.extend(_node_lines(node.body, depth + 1))
        else:
            lines.extend(_if_lines(node, depth))
    return lines


def _if_lines(node: If, depth: int) -> list[str]:
    indent = "    " * depth
    lines = [f"{indent}if {_conditions(node.conditions, {})}:", *_node_lines(node.then, depth + 1)]
    if node.otherwise:
        lines += [f"{indent}else:", *_node_lines(node.otherwise, depth + 1)]
    return lines


def _loop_head(loop: Loop) -> str:
    text = f"{loop.kind.value} {loop.variable} in range({_int(loop.extent)})"
    if loop.kind is LoopKind.SERIAL and _int(loop.unroll) != "1":
        text += f" unroll {_int(loop.unroll)}"
    if loop.fetches:
        text += f" fetch {loop.fetches.buffer} + {loop.fetches.distance}"
        text += f" beside {loop.fetches.beside}" if loop.fetches.beside else ""
    text += ":"
    if loop.guards:
        text += " if " + " and ".join(_guard_text(guard) for guard in loop.guards)
    return text + ("  # reduction" if loop.is_reduction else "")


def _guard_text(guard: Guard) -> str:
    return f"{affine_text(guard.index)} < {_int(guard.bound)}"


def _store_text(store: Store) -> str:
    operator = "=" if store.reducer is None else _REDUCERS[store.reducer]
    return f"{store.buffer}{_index(store.index, {})} {operator} {expression_text(store.value)}"


def _expression(expr: Expr, names: Mapping[str, str]) -> str:
    if isinstance(expr, Constant):
        return repr(float(expr.value))
    if isinstance(expr, Load):
        return expr.buffer + _index(expr.index, names)
    if isinstance(expr, Unary):
        return f"{expr.op}({_expression(expr.operand, names)})"
    if isinstance(expr, Binary):
        return _binary(expr, names)
    then, otherwise = _expression(expr.then, names), _expression(expr.otherwise, names)
    return f"select({_conditions(expr.conditions, names)}, {then}, {otherwise})"


def _binary(expr: Binary, names: Mapping[str, str]) -> str:
    if expr.op not in _INFIX:
        return f"{expr.op}({_expression(expr.left, names)}, {_expression(expr.right, names)})"
    return f"{_operand(expr.left, names)} {_INFIX[expr.op]} {_operand(expr.right, names)}"


def _operand(expr: Expr, names: Mapping[str, str]) -> str:
    text = _expression(expr, names)
    return f"({text})" if isinstance(expr, Binary) and expr.op in _INFIX else text


def _conditions(conditions: tuple[InRange, ...], names: Mapping[str, str]) -> str:
    texts = (f"{_int(c.low)} <= {_affine(c.index, names)} < {_int(c.high)}" for c in conditions)
    return " and ".join(texts) or "true"


def _index(index: tuple[Affine, ...], names: Mapping[str, str]) -> str:
    return "[" + ", ".join(_affine(affine, names) for affine in index) + "]"


def _affine(affine: Affine, names: Mapping[str, str]) -> str:
    # With canonical names the order of the terms must not matter either.
    terms = sorted(((names[n], c) for n, c in affine.terms)) if names else affine.terms
    text = ""
    for name, coefficient in terms:
        text += _signed(_term(name, coefficient), text)
    if text and _int(affine.constant) == "0":
        return text
    return text + _signed(_int(affine.constant), text)


def _term(name: str, coefficient: Int) -> str:
    factor = _int(coefficient)
    sign, size = ("-", factor[1:]) if factor.startswith("-") else ("", factor)
    return f"{sign}{name}" if size == "1" else f"{sign}{name}*{size}"


def _signed(term: str, before: str) -> str:
    if not before:
        return term
    return f" - {term[1:]}" if term.startswith("-") else f" + {term}"


def _int(value: Int) -> str:
    return str(int(value)) if isinstance(value, (int, np.integer)) else "?"
