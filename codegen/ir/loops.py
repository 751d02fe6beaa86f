"""The loop AST: how a program is computed.

One tree type serves one candidate (extents are ints) and a whole batch (extents are arrays or
symbols); see ``codegen.ir.arithmetic``.

Semantics, which the interpreter and every backend share:

* A loop runs ``extent`` iterations of its variable from 0, and skips each iteration in which a guard
  fails. Tails of tiles are guards: tiles need not divide what they tile.
* ``vectorized`` loops have any extent; a backend cuts them into its own vector lengths.
* ``unrolled`` and ``vectorized`` loops may index ``register`` buffers; other loops may not.
* A backend may compute guarded-off instances of a store to a ``register`` buffer (with loads masked or
  clamped to a legal address) when the result is never observed; memory is written only where guards hold.
* Perfectly nested ``parallel`` loops form one iteration space shared by the threads.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from codegen.ir.affine import Affine
from codegen.ir.arithmetic import Int
from codegen.ir.expression import Expr, InRange, Reducer


class LoopKind(Enum):
    """How the iterations of a loop are run."""

    SERIAL = "for"
    PARALLEL = "parallel"
    UNROLLED = "unroll"
    VECTORIZED = "vector"


class Scope(Enum):
    """Where a buffer lives and who may see it."""

    INPUT = "input"  # passed by the caller
    OUTPUT = "output"  # passed by the caller, written completely
    PACKED = "packed"  # written by the prepack part from constant inputs, then read only
    GLOBAL = "global"  # workspace shared by the threads
    LOCAL = "local"  # workspace private to a thread
    REGISTER = "register"  # values, no address
    TABLE = "table"  # numbers known before anything runs


@dataclass(frozen=True)
class Buffer:
    """A dense row-major float32 array in some scope.

    A table alone has ``values``, row-major. It is read where unrolled loops fix every index, so that a
    backend writes the number in its place; what a product has a zero of a table for need not be read.

    What is written to a ``streamed`` one goes past the caches where a backend can do that: it changes
    speed, never results. A copy holds elements of one input and zeros: where a backend has inputs in a
    narrower format, it may keep copies in that format as well.
    """

    name: str
    shape: tuple[Int, ...]
    scope: Scope
    values: tuple[float, ...] = ()
    is_streamed: bool = False
    is_copy: bool = False

    def __post_init__(self) -> None:
        if bool(self.values) != (self.scope is Scope.TABLE):
            raise ValueError(f"a table has values and no other buffer, got {self.scope.value} {self.name}")


@dataclass(frozen=True)
class Guard:
    """An iteration runs only where ``index < bound``."""

    index: Affine
    bound: Int


@dataclass(frozen=True)
class Fetch:
    """Bringing into the cache what lies ``distance`` elements of ``buffer`` after each vector access of it.

    With ``beside`` the accesses are those of that buffer, and the place in ``buffer`` is the one of the same
    number in row-major order.
    """

    buffer: str
    distance: int
    beside: str = ""

    @property
    def follows(self) -> str:
        """The buffer whose accesses are followed."""
        return self.beside or self.buffer


@dataclass(frozen=True)
class Loop:
    """``for variable in range(extent): if all guards: body``.

    ``unroll`` copies of the body of a serial loop are laid out in a row (1 is none); like the loop
    kind it changes speed, never results; so does what a vectorized loop ``fetches``. ``is_reduction``
    says that iterations accumulate.
    """

    variable: str
    extent: Int
    body: tuple[Node, ...]
    kind: LoopKind = LoopKind.SERIAL
    guards: tuple[Guard, ...] = ()
    unroll: Int = 1
    is_reduction: bool = False
    fetches: Fetch | None = None


@dataclass(frozen=True)
class Store:
    """``buffer[index] = value``, or with a reducer ``buffer[index] = reducer(buffer[index], value)``."""

    buffer: str
    index: tuple[Affine, ...]
    value: Expr
    reducer: Reducer | None = None


@dataclass(frozen=True)
class If:
    """``then`` where all conditions hold, else ``otherwise`` (may be empty)."""

    conditions: tuple[InRange, ...]
    then: tuple[Node, ...]
    otherwise: tuple[Node, ...] = ()


Node: TypeAlias = Loop | Store | If


@dataclass(frozen=True)
class LoopProgram:
    """A scheduled program.

    ``prepack`` runs once per set of constant inputs and writes the ``packed`` buffers; ``body`` runs at
    each call. Buffers are in a fixed order: inputs as the program lists them, then the rest.
    """

    name: str
    buffers: tuple[Buffer, ...]
    body: tuple[Node, ...]
    prepack: tuple[Node, ...] = ()

    def buffer(self, name: str) -> Buffer:
        """The buffer of that name; KeyError if there is none."""
        for buffer in self.buffers:
            if buffer.name == name:
                return buffer
        raise KeyError(name)


def walk_nodes(nodes: tuple[Node, ...]) -> Iterator[Node]:
    """Every node, parents before children, in textual order."""
    for node in nodes:
        yield node
        if isinstance(node, Loop):
            yield from walk_nodes(node.body)
        elif isinstance(node, If):
            yield from walk_nodes(node.then)
            yield from walk_nodes(node.otherwise)


def row_major_strides(shape: tuple[Int, ...]) -> tuple[Int, ...]:
    """Elements between neighbours along each dimension.

    >>> row_major_strides((2, 3, 4))
    (12, 4, 1)
    """
    strides: list[Int] = []
    step: Int = 1
    for size in reversed(shape):
        strides.append(step)
        step = step * size
    return tuple(reversed(strides))
