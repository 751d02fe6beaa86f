"""Telling the loop AST of one candidate from that of a batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from codegen.ir.affine import Affine
from codegen.ir.arithmetic import Int, is_known
from codegen.ir.expression import InRange, Load, Select, walk
from codegen.ir.loops import If, Loop, LoopProgram, Node, walk_nodes


def require_known(program: LoopProgram) -> None:
    """ValueError, naming the place, unless every Int of the program is a plain int."""
    for buffer in program.buffers:
        if not is_known(*buffer.shape):
            raise ValueError(f"buffer {buffer.name} of {program.name} has no plain int shape: {buffer.shape}")
    for node in walk_nodes((*program.prepack, *program.body)):
        for value in _integers(node):
            if not is_known(value):
                raise ValueError(f"{_place(node)} of {program.name} needs plain ints, got {value!r}")


def _place(node: Node) -> str:
    if isinstance(node, Loop):
        return f"loop {node.variable}"
    return "a branch" if isinstance(node, If) else f"a store to {node.buffer}"


def _integers(node: Node) -> Iterator[Int]:
    """Those of a node itself, not of the nodes inside."""
    if isinstance(node, Loop):
        yield node.extent
        yield node.unroll
        for guard in node.guards:
            yield from _of_indices((guard.index,))
            yield guard.bound
    elif isinstance(node, If):
        yield from _of_conditions(node.conditions)
    else:
        yield from _of_indices(node.index)
        for part in walk(node.value):
            if isinstance(part, Load):
                yield from _of_indices(part.index)
            elif isinstance(part, Select):
                yield from _of_conditions(part.conditions)


def _of_conditions(conditions: Iterable[InRange]) -> Iterator[Int]:
    for condition in conditions:
        yield from _of_indices((condition.index,))
        yield condition.low
        yield condition.high


def _of_indices(indices: Iterable[Affine]) -> Iterator[Int]:
    for index in indices:
        yield index.constant
        yield from (coefficient for _, coefficient in index.terms)
