"""What a caller must know of a compiled program: its buffers in memory and its entry points."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

from codegen.ir.expression import loads
from codegen.ir.loops import Buffer, LoopProgram, Scope, Store, walk_nodes
from codegen.llvm.plan import SLACK_ELEMENTS

ELEMENTS_PER_LINE = 16
"""Floats in a cache line of 64 bytes."""


@dataclass(frozen=True)
class Signature:
    """The calling convention of one kernel.

    ``arguments`` are the buffers in memory, in the order of the array of pointers that the entry points
    take. ``prepack_inputs`` are read by the prepack part; it is empty for a program without one.
    """

    symbol: str
    arguments: tuple[Buffer, ...]
    num_threads: int
    prepack_inputs: tuple[str, ...]

    def of_scope(self, scope: Scope) -> tuple[Buffer, ...]:
        """The arguments in one scope, in order."""
        return tuple(buffer for buffer in self.arguments if buffer.scope is scope)

    def allocated_elements(self, buffer: Buffer) -> int:
        """Floats that a buffer takes; one of ours has spare ones, and a slice per thread if it is local."""
        if buffer.scope in (Scope.INPUT, Scope.OUTPUT):
            return num_elements(buffer)
        slices = self.num_threads if buffer.scope is Scope.LOCAL else 1
        return slices * slice_elements(buffer)


def prepack_inputs(program: LoopProgram) -> tuple[str, ...]:
    """Inputs that the prepack part reads, in the order of the program's buffers."""
    read = {
        load.buffer
        for node in walk_nodes(program.prepack)
        if isinstance(node, Store)
        for load in loads(node.value)
    }
    return tuple(b.name for b in program.buffers if b.scope is Scope.INPUT and b.name in read)


def num_elements(buffer: Buffer) -> int:
    """Floats of a buffer as the program sees it."""
    return math.prod(cast(tuple[int, ...], buffer.shape))


def slice_elements(buffer: Buffer) -> int:
    """Floats of one thread's slice of a local buffer: whole cache lines, with room for spare lanes."""
    return -(-(num_elements(buffer) + SLACK_ELEMENTS) // ELEMENTS_PER_LINE) * ELEMENTS_PER_LINE
