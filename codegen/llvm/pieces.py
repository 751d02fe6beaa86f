"""A program cut in pieces: each is a function, and many candidates have it in common.

It is cut where its threads meet, and where the body of a parallel nest is a row of large steps.
Winograd's transforms or the padding of an image depend on few knobs, so that most candidates of a search
differ in one piece only. A piece says all that its code depends on and nothing else: equal pieces have equal
code, and what compiles them may remember it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import count
from typing import cast

from codegen.ir.expression import loads
from codegen.ir.loops import Buffer, Loop, LoopKind, LoopProgram, Node, Scope, Store, walk_nodes
from codegen.llvm.sites import bounded_extent

Position = int | None
"""Of a buffer in the array of pointers; None for one that is no argument."""


@dataclass(frozen=True)
class Piece:
    """Statements that become the function ``name``, with the buffers that they use and no others.

    ``is_shared``: it runs in a team of threads. ``is_exported``: callers may see it. The ``outer`` outermost
    loops are run by its caller, which passes their variables.
    """

    name: str
    nodes: tuple[Node, ...]
    buffers: tuple[tuple[Position, Buffer], ...]
    is_shared: bool = False
    is_exported: bool = False
    outer: int = 0

    @property
    def arguments(self) -> tuple[tuple[int, Buffer], ...]:
        """The buffers in memory, each with its position in the array of pointers."""
        return tuple((position, buffer) for position, buffer in self.buffers if position is not None)

    @property
    def streamed(self) -> frozenset[str]:
        """Names of buffers that it writes past the caches."""
        stored = {node.buffer for node in walk_nodes(self.nodes) if isinstance(node, Store)}
        return frozenset(buffer.name for _, buffer in self.buffers if buffer.is_streamed) & stored


@dataclass(frozen=True)
class Step:
    """Pieces that run one after the other; in each iteration of perfectly nested loops with these extents, if
    there are any, which a team shares.
    """

    pieces: tuple[Piece, ...]
    extents: tuple[int, ...] = ()


@dataclass(frozen=True)
class Cut:
    """A program's pieces: the steps of ``body`` run one after the other, a team meeting between them."""

    symbol: str
    body: tuple[Step, ...]
    prepack: Piece
    num_threads: int

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """All of them."""
        return (*(piece for step in self.body for piece in step.pieces), self.prepack)


def cut_program(program: LoopProgram, num_threads: int) -> Cut:
    """Cut a program whose Ints are all plain ints, for at most so many threads."""
    symbol = re.sub(r"\W", "_", program.name) or "kernel"
    buffers = list(zip(_positions(program.buffers), program.buffers, strict=True))
    registers = frozenset(buffer.name for buffer in program.buffers if buffer.scope is Scope.REGISTER)
    useful = num_useful_threads(program.body, num_threads)
    numbers = count()

    def piece(nodes: tuple[Node, ...], names: frozenset[str], outer: int = 0) -> Piece:
        return Piece(f"{symbol}_part{next(numbers)}", nodes, _only(buffers, names), useful > 1, outer=outer)

    steps = []
    for nodes, names in _runs(program.body, registers, has_parallel):
        loops, parts = _inside(nodes, registers)
        extents = tuple(cast(int, loop.extent) for loop in loops)
        pieces = [piece(_wrapped(loops, part), used, len(loops)) for part, used in parts]
        steps.append(Step(tuple(pieces), extents) if parts else Step((piece(nodes, names),)))
    packed = _only(buffers, _names(program.prepack))
    prepack = Piece(f"{symbol}_prepack", program.prepack, packed, is_exported=True)
    return Cut(symbol, tuple(steps), prepack, useful)


def arguments_of(buffers: tuple[Buffer, ...]) -> tuple[Buffer, ...]:
    """The buffers that callers allocate, in the order of the array of pointers."""
    return tuple(buffer for buffer in buffers if buffer.scope not in (Scope.REGISTER, Scope.TABLE))


def num_useful_threads(nodes: tuple[Node, ...], num_threads: int) -> int:
    """Threads that have something to do in the largest parallel nest."""
    return max([1, *(min(num_threads, _num_iterations(nest)) for nest in _nests(nodes))])


def has_parallel(node: Node) -> bool:
    """Whether a team would share a loop here: one that is parallel, or is inside serial loops alone."""
    if not isinstance(node, Loop):
        return False
    return node.kind is LoopKind.PARALLEL or (
        node.kind is LoopKind.SERIAL and any(map(has_parallel, node.body))
    )


MIN_STEPS, MIN_STEP_STORES = 3, 4096
"""Steps inside a nest that are worth functions: several, and each longer by far than a call."""

_Run = tuple[tuple[Node, ...], frozenset[str]]
"""Statements, and the names of the buffers that they use."""


def _runs(nodes: tuple[Node, ...], registers: frozenset[str], is_alone: Callable[[Node], bool]) -> list[_Run]:
    """Statements cut before and after each that stands alone.

    Registers have no address: what uses the same ones stays together.
    """
    runs: list[_Run] = []
    is_open = False
    for node in nodes:
        names, ends = _names((node,)), is_alone(node)
        start = next((i for i, (_, used) in enumerate(runs) if used & names & registers), len(runs))
        if is_open and not ends:
            start = min(start, len(runs) - 1)
        joined = runs[start:]
        del runs[start:]
        before = tuple(part for run, _ in joined for part in run)
        runs.append(((*before, node), names.union(*(used for _, used in joined))))
        is_open = not ends
    return runs


def _inside(nodes: tuple[Node, ...], registers: frozenset[str]) -> tuple[list[Loop], list[_Run]]:
    """The loops of a parallel nest, and the large steps that its body is; nothing if it is no such nest."""
    loops: list[Loop] = []
    while len(nodes) == 1 and isinstance(nodes[0], Loop) and nodes[0].kind is LoopKind.PARALLEL:
        loops.append(nodes[0])
        nodes = nodes[0].body
    runs = _runs(nodes, registers, lambda node: True) if loops and len(nodes) >= MIN_STEPS else []
    is_worth_it = len(runs) >= MIN_STEPS and min(_num_stores(run) for run, _ in runs) >= MIN_STEP_STORES
    return (loops, runs) if is_worth_it and not any(loop.guards for loop in loops) else ([], [])


def _num_stores(nodes: tuple[Node, ...]) -> int:
    """Numbers that are stored, at most."""
    total = 0
    for node in nodes:
        if isinstance(node, Loop):
            total += cast(int, node.extent) * _num_stores(node.body)
        elif isinstance(node, Store):
            total += 1
        else:
            total += max(_num_stores(node.then), _num_stores(node.otherwise))
    return total


def _wrapped(loops: list[Loop], nodes: tuple[Node, ...]) -> tuple[Node, ...]:
    for loop in reversed(loops):
        nodes = (replace(loop, body=nodes),)
    return nodes


def _names(nodes: tuple[Node, ...]) -> frozenset[str]:
    names: set[str] = set()
    for node in walk_nodes(nodes):
        if isinstance(node, Store):
            names.add(node.buffer)
            names.update(load.buffer for load in loads(node.value))
        elif isinstance(node, Loop) and node.fetches is not None:
            names.update((node.fetches.buffer, node.fetches.follows))
    return frozenset(names)


def _only(
    buffers: list[tuple[Position, Buffer]], names: frozenset[str]
) -> tuple[tuple[Position, Buffer], ...]:
    return tuple(one for one in buffers if one[1].name in names)


def _positions(buffers: tuple[Buffer, ...]) -> list[Position]:
    arguments = arguments_of(buffers)
    return [arguments.index(buffer) if buffer in arguments else None for buffer in buffers]


def _nests(nodes: tuple[Node, ...]) -> list[Loop]:
    """The parallel nests that a team would share."""
    found: list[Loop] = []
    for node in nodes:
        if isinstance(node, Loop) and node.kind is LoopKind.PARALLEL:
            found.append(node)
        elif isinstance(node, Loop) and has_parallel(node):
            found.extend(_nests(node.body))
    return found


def _num_iterations(nest: Loop) -> int:
    """Of perfectly nested parallel loops together."""
    extents = [bounded_extent(nest)]
    while len(nest.body) == 1 and isinstance(nest.body[0], Loop) and nest.body[0].kind is LoopKind.PARALLEL:
        nest = nest.body[0]
        extents.append(bounded_extent(nest))
    return math.prod(extents)
