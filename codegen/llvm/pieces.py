"""A program cut where its threads meet: each piece is a function, and many candidates have it in common.

Winograd's transforms or the padding of an image depend on few knobs, so that most candidates of a search
differ in one piece only. A piece says all that its code depends on and nothing else: equal pieces have equal
code, and what compiles them may remember it.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from codegen.ir.expression import loads
from codegen.ir.loops import Buffer, Loop, LoopKind, LoopProgram, Node, Scope, Store, walk_nodes
from codegen.llvm.sites import bounded_extent

Position = int | None
"""Of a buffer in the array of pointers; None for one that is no argument."""


@dataclass(frozen=True)
class Piece:
    """Statements that become the function ``name``, with the buffers that they use and no others.

    ``is_shared``: every thread of a team runs it, each its part. ``is_exported``: callers may see it.
    """

    name: str
    nodes: tuple[Node, ...]
    buffers: tuple[tuple[Position, Buffer], ...]
    is_shared: bool = False
    is_exported: bool = False

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
class Cut:
    """A program's pieces: those of ``body`` run one after the other, with a barrier between two of a team."""

    symbol: str
    body: tuple[Piece, ...]
    prepack: Piece
    num_threads: int

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """All of them."""
        return (*self.body, self.prepack)


def cut_program(program: LoopProgram, num_threads: int) -> Cut:
    """Cut a program whose Ints are all plain ints, for at most so many threads."""
    symbol = re.sub(r"\W", "_", program.name) or "kernel"
    buffers = list(zip(_positions(program.buffers), program.buffers, strict=True))
    useful = num_useful_threads(program.body, num_threads)
    body = tuple(
        Piece(f"{symbol}_part{number}", nodes, _only(buffers, names), is_shared=useful > 1)
        for number, (nodes, names) in enumerate(_runs(program))
    )
    packed = _only(buffers, _names(program.prepack))
    return Cut(symbol, body, Piece(f"{symbol}_prepack", program.prepack, packed, is_exported=True), useful)


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


def _runs(program: LoopProgram) -> list[tuple[tuple[Node, ...], frozenset[str]]]:
    """Statements of the body, cut before and after each that a team shares, and the names they use.

    Registers have no address: what uses the same ones stays together.
    """
    registers = {buffer.name for buffer in program.buffers if buffer.scope is Scope.REGISTER}
    runs: list[tuple[tuple[Node, ...], frozenset[str]]] = []
    is_open = False
    for node in program.body:
        names, is_parallel = _names((node,)), has_parallel(node)
        start = next((i for i, (_, used) in enumerate(runs) if used & names & registers), len(runs))
        if is_open and not is_parallel:
            start = min(start, len(runs) - 1)
        joined = runs[start:]
        del runs[start:]
        nodes = tuple(part for run, _ in joined for part in run)
        runs.append(((*nodes, node), names.union(*(used for _, used in joined))))
        is_open = not is_parallel
    return runs


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
