"""What a caller must know of a compiled program: its buffers in memory and its entry points."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import cast

from codegen.ir.expression import loads
from codegen.ir.loops import Buffer, LoopProgram, Scope, Store, walk_nodes
from codegen.llvm.plan import SLACK_ELEMENTS

ELEMENTS_PER_LINE = 16
"""Floats in a cache line of 64 bytes."""


@dataclass(frozen=True)
class Operand:
    """An input or the output as callers pass it.

    ``position`` counts in the array of pointers. An array may have any of ``shapes``: all are views of
    the same bytes, and the first is that of a result.
    """

    name: str
    position: int
    shapes: tuple[tuple[int, ...], ...]
    num_bytes: int


@dataclass(frozen=True)
class Signature:
    """The calling convention of one kernel.

    ``arguments`` are the buffers in memory, in the order of the array of pointers that the entry points
    take. ``prepack_inputs`` are read by the prepack part; it is empty for a program without one.
    ``user_shapes`` are the shapes of inputs and output by which users know them, where the program has
    others: a reshape, the elements stay in their order.
    """

    symbol: str
    arguments: tuple[Buffer, ...]
    num_threads: int
    prepack_inputs: tuple[str, ...]
    user_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        buffers = {b.name: b for b in (*self.of_scope(Scope.INPUT), *self.of_scope(Scope.OUTPUT))}
        for name, shape in self.user_shapes.items():
            if name not in buffers:
                raise ValueError(f"user_shapes may name {', '.join(buffers)}, got {name}")
            wanted = num_elements(buffers[name])
            if any(size < 1 for size in shape) or math.prod(shape) != wanted:
                raise ValueError(f"{name} has {wanted} elements, user_shapes gives it the shape {shape}")

    @cached_property
    def inputs(self) -> tuple[Operand, ...]:
        """What callers pass, in order."""
        return self._operands(Scope.INPUT)

    @cached_property
    def output(self) -> Operand:
        """What a call computes."""
        return self._operands(Scope.OUTPUT)[0]

    def user_shape(self, buffer: Buffer) -> tuple[int, ...]:
        """The user's shape of a buffer, or the program's where the user has no other."""
        return self.user_shapes.get(buffer.name, program_shape(buffer))

    def of_scope(self, scope: Scope) -> tuple[Buffer, ...]:
        """The arguments in one scope, in order."""
        return tuple(buffer for buffer in self.arguments if buffer.scope is scope)

    def allocated_elements(self, buffer: Buffer) -> int:
        """Floats that a buffer takes; one of ours has spare ones, and a slice per thread if it is local."""
        if buffer.scope in (Scope.INPUT, Scope.OUTPUT):
            return num_elements(buffer)
        slices = self.num_threads if buffer.scope is Scope.LOCAL else 1
        return slices * slice_elements(buffer)

    def _operands(self, scope: Scope) -> tuple[Operand, ...]:
        return tuple(
            Operand(buffer.name, position, self._shapes(buffer), 4 * num_elements(buffer))
            for position, buffer in enumerate(self.arguments)
            if buffer.scope is scope
        )

    def _shapes(self, buffer: Buffer) -> tuple[tuple[int, ...], ...]:
        return tuple(dict.fromkeys((self.user_shape(buffer), program_shape(buffer))))


def prepack_inputs(program: LoopProgram) -> tuple[str, ...]:
    """Inputs that the prepack part reads, in the order of the program's buffers."""
    read = {
        load.buffer
        for node in walk_nodes(program.prepack)
        if isinstance(node, Store)
        for load in loads(node.value)
    }
    return tuple(b.name for b in program.buffers if b.scope is Scope.INPUT and b.name in read)


def program_shape(buffer: Buffer) -> tuple[int, ...]:
    """Shape of a buffer of a compiled program, which has no unknown sizes."""
    return cast(tuple[int, ...], buffer.shape)


def num_elements(buffer: Buffer) -> int:
    """Floats of a buffer as the program sees it."""
    return math.prod(program_shape(buffer))


def slice_elements(buffer: Buffer) -> int:
    """Floats of one thread's slice of a local buffer: whole cache lines, with room for spare lanes."""
    return -(-(num_elements(buffer) + SLACK_ELEMENTS) // ELEMENTS_PER_LINE) * ELEMENTS_PER_LINE
