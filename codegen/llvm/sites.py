"""Where register buffers are read and written, and what follows for guards and vector dimensions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from codegen.ir.affine import Affine
from codegen.ir.arithmetic import ceil_div
from codegen.ir.expression import loads as loads_of
from codegen.ir.loops import Guard, If, Loop, LoopKind, Node
from codegen.llvm.linear import greatest

GuardId = tuple[int, int]
"""Number of the loop in textual order, position among its guards."""


@dataclass(frozen=True, slots=True)
class Site:
    """An access to a buffer; ``loops`` are numbered in textual order, outermost first."""

    buffer: str
    index: tuple[Affine, ...]
    loops: tuple[tuple[int, Loop], ...]
    is_plain_store: bool = False

    @property
    def extents(self) -> dict[str, int]:
        """Extent of every enclosing loop."""
        return {loop.variable: cast(int, loop.extent) for _, loop in self.loops}

    @property
    def vector_loop(self) -> Loop | None:
        """The loop whose iterations are the lanes here."""
        return next((loop for _, loop in self.loops if is_vector(loop)), None)


@dataclass(frozen=True, slots=True)
class Sites:
    """Every store (numbered in textual order) and every load of a program part."""

    stores: tuple[Site, ...]
    loads: tuple[Site, ...]


def is_vector(loop: Loop) -> bool:
    """Whether a loop has lanes at all."""
    return loop.kind is LoopKind.VECTORIZED and cast(int, loop.extent) > 1


def find_sites(nodes: tuple[Node, ...]) -> Sites:
    """Collect the accesses of a loop AST."""
    stores: list[Site] = []
    loads: list[Site] = []
    num_loops = 0

    def visit(body: tuple[Node, ...], loops: tuple[tuple[int, Loop], ...]) -> None:
        nonlocal num_loops
        for node in body:
            if isinstance(node, Loop):
                number = num_loops
                num_loops += 1
                visit(node.body, (*loops, (number, node)))
            elif isinstance(node, If):
                visit(node.then, loops)
                visit(node.otherwise, loops)
            else:
                values = loads_of(node.value)
                is_plain = node.reducer is None and all(load.buffer != node.buffer for load in values)
                stores.append(Site(node.buffer, node.index, loops, is_plain))
                loads.extend(Site(load.buffer, load.index, loops) for load in values)

    visit(nodes, ())
    return Sites(tuple(stores), tuple(loads))


def live_guards(number: int, loop: Loop, extents: dict[str, int]) -> list[tuple[GuardId, Guard]]:
    """Guards of a loop that can fail."""
    return [
        ((number, position), guard)
        for position, guard in enumerate(loop.guards)
        if greatest(guard.index, extents) >= cast(int, guard.bound)
    ]


def bounded_extent(loop: Loop) -> int:
    """Iterations that guards in the loop's own variable alone leave of it."""
    extent = cast(int, loop.extent)
    for guard in loop.guards:
        if is_own(guard, loop):
            room = cast(int, guard.bound) - cast(int, guard.index.constant)
            extent = min(extent, max(0, cast(int, ceil_div(room, guard.index.coefficient(loop.variable)))))
    return extent


def is_own(guard: Guard, loop: Loop) -> bool:
    """Whether a guard does no more than to shorten its loop."""
    factor = cast(int, guard.index.coefficient(loop.variable))
    return guard.index.variables == (loop.variable,) and factor > 0


def skippable_guards(sites: Sites, registers: frozenset[str]) -> list[frozenset[GuardId]]:
    """For each store, the guards that need no test because nobody observes what it then writes.

    A guard of an unrolled or vector loop may be ignored by a store to a register buffer when the
    guard, written in terms of the element's own indices, also protects every load of that buffer.
    """
    loads: dict[str, list[Site]] = {}
    for site in sites.loads:
        loads.setdefault(site.buffer, []).append(site)
    return [
        _skippable(store, sites.stores, loads.get(store.buffer, []))
        if store.buffer in registers
        else frozenset()
        for store in sites.stores
    ]


def _skippable(store: Site, stores: tuple[Site, ...], loads: list[Site]) -> frozenset[GuardId]:
    extents = store.extents
    candidates = [
        (identifier, guard)
        for number, loop in store.loops
        if loop.kind in (LoopKind.UNROLLED, LoopKind.VECTORIZED)
        for identifier, guard in live_guards(number, loop, extents)
    ]
    if not candidates:
        return frozenset()
    others = [_protections(load) for load in loads]
    found = set()
    for identifier, guard in candidates:
        if not _owns_variables(store, guard, stores):
            continue
        if all(_canonical(store, guard) in protections for protections in others):
            found.add(identifier)
    return frozenset(found)


def _owns_variables(store: Site, guard: Guard, stores: tuple[Site, ...]) -> bool:
    """Whether skipped instances touch only elements of their own, set anew in each runtime iteration."""
    dimensions = _dimensions(store)
    for number, loop in store.loops:
        if loop.variable not in guard.index.variables or loop.variable in dimensions:
            continue
        if loop.kind in (LoopKind.UNROLLED, LoopKind.VECTORIZED):
            return False
        if not any(
            other.buffer == store.buffer and other.is_plain_store and (number, loop) in other.loops
            for other in stores
        ):
            return False
    return True


def _protections(site: Site) -> frozenset[object]:
    return frozenset(_canonical(site, guard) for _, loop in site.loops for guard in loop.guards)


def _canonical(site: Site, guard: Guard) -> object:
    """A guard with variables replaced by the dimension they index, or the number of their loop."""
    dimensions = _dimensions(site)
    numbers = {loop.variable: number for number, loop in site.loops}
    terms = frozenset(
        (("dimension", dimensions[name]) if name in dimensions else ("loop", numbers[name]), coefficient)
        for name, coefficient in guard.index.terms
    )
    return terms, cast(int, guard.bound) - cast(int, guard.index.constant)


def _dimensions(site: Site) -> dict[str, int]:
    return {
        index.terms[0][0]: position
        for position, index in enumerate(site.index)
        if len(index.terms) == 1 and index.terms[0][1] == 1 and index.constant == 0
    }
