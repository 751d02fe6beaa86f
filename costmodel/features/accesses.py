"""Closed forms over affine accesses: footprints, strides, counts of vectors, traffic between caches.

Everything here is symbolic arithmetic (``codegen.ir.arithmetic``), built once per sketch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from codegen.ir.affine import Affine
from codegen.ir.arithmetic import Int, ceil_div, maximum, minimum
from codegen.ir.loops import Buffer, Guard, Loop, LoopKind, LoopProgram, Scope, row_major_strides
from codegen.ir.trace import ratio
from costmodel.features.tree import Access, LeafNode

ELEMENT_BYTES = 4

_OUT_OF_REACH = 10**15
"""Added to the traffic of a level that does not fit: more bytes than any program moves, exact in float64."""


@dataclass(frozen=True)
class Reach:
    """What one run of some loops touches of one buffer."""

    elements: Int
    accesses: Int
    run: Int


def product(values: Iterable[Int]) -> Int:
    """The product, 1 for none."""
    result: Int = 1
    for value in values:
        result = result * value
    return result


def total(values: Iterable[Int]) -> Int:
    """The sum, 0 for none."""
    result: Int = 0
    for value in values:
        result = result + value
    return result


def largest(values: Sequence[Int]) -> Int:
    """The greatest of at least one."""
    result = values[0]
    for value in values[1:]:
        result = maximum(result, value)
    return result


def extents_of(loops: Iterable[Loop]) -> dict[str, Int]:
    """Extent by loop variable."""
    return {loop.variable: loop.extent for loop in loops}


def loops_inside(leaf: LeafNode, depth: int) -> tuple[Loop, ...]:
    """The loops around a leaf's statement from a depth of its path on, merged ones included."""
    return (*leaf.place.path[depth:], *leaf.merged)


class Footprints:
    """What the leaves of one program reach; each question is worked out once."""

    def __init__(self, program: LoopProgram) -> None:
        self.program = program
        self._memory = [b for b in program.buffers if b.scope not in (Scope.REGISTER, Scope.TABLE)]
        self._known: dict[tuple[LeafNode, int], dict[str, list[Reach]]] = {}

    def reach(self, buffer: Buffer, leaves: Sequence[LeafNode], depth: int) -> Reach | None:
        """What leaves touch of a buffer while the loops from ``depth`` on run once; None if nothing.

        A union of several accesses counts as the largest of them: copies of one read (with and without
        padding, say) reach the same elements.
        """
        each = [one for leaf in leaves for one in self._of_leaf(leaf, depth).get(buffer.name, ())]
        if not each:
            return None
        return Reach(
            largest([one.elements for one in each]),
            total(one.accesses for one in each),
            largest([one.run for one in each]),
        )

    def working_set(self, leaves: Sequence[LeafNode], depth: int) -> Int:
        """Bytes of memory leaves touch while the loops from ``depth`` on run once; registers are free."""
        reached = [self.reach(buffer, leaves, depth) for buffer in self._memory]
        return total(ELEMENT_BYTES * each.elements for each in reached if each is not None)

    def _of_leaf(self, leaf: LeafNode, depth: int) -> dict[str, list[Reach]]:
        if (leaf, depth) not in self._known:
            found: dict[str, list[Reach]] = {}
            extents = extents_of(loops_inside(leaf, depth))
            count = product(extents.values())
            for access in leaf.accesses:
                shape = self.program.buffer(access.buffer).shape
                spans = [minimum(_reached(i, extents), size) for i, size in zip(access.index, shape)]
                one = Reach(product(spans), count, spans[-1] if spans else 1)
                found.setdefault(access.buffer, []).append(one)
            self._known[leaf, depth] = found
        return self._known[leaf, depth]


def _reached(index: Affine, extents: Mapping[str, Int]) -> Int:
    """Values an index takes: all between its least and greatest, or one per iteration where it strides."""
    iterations = product(extents[name] for name in index.variables if name in extents)
    return minimum(index.span(extents), iterations)


def stride(buffer: Buffer, access: Access, variable: str) -> Int:
    """Elements between the accesses of neighbouring iterations of a loop variable."""
    steps = row_major_strides(buffer.shape)
    return total(i.coefficient(variable) * step for i, step in zip(access.index, steps))


def vectors(access: Access, merged: Sequence[Loop], lanes: Int) -> Int:
    """Distinct vectors (or broadcast scalars) an access needs for all instances of the merged loops."""
    used = {name for index in access.index for name in index.variables}
    return product(
        ceil_div(loop.extent, lanes) if loop.kind is LoopKind.VECTORIZED else loop.extent
        for loop in merged
        if loop.variable in used
    )


def innermost_vector(leaf: LeafNode) -> Loop | None:
    """The vectorized loop of a leaf."""
    found = [loop for loop in leaf.merged if loop.kind is LoopKind.VECTORIZED]
    return found[-1] if found else None


def traffic(footprints: Footprints, leaf: LeafNode, caches_bytes: Sequence[Int]) -> tuple[Int, ...]:
    """Bytes that enter each cache, given its size, over all runs of a leaf.

    A cache keeps what some level of the nest touches, if that fits; everything outside that level
    fetches it again. The best level counts; the innermost one is always allowed.
    """
    path = leaf.place.path
    sets = [footprints.working_set([leaf], depth) for depth in range(len(path) + 1)]
    runs = [product(loop.extent for loop in path[:depth]) for depth in range(len(path) + 1)]
    moved = [touched * count for touched, count in zip(sets, runs)]

    def entering(cache_bytes: Int) -> Int:
        result: Int = moved[-1]
        for touched, level in zip(sets[:-1], moved):
            does_not_fit = minimum(maximum(touched - cache_bytes, 0), 1)
            result = minimum(result, level + does_not_fit * _OUT_OF_REACH)
        return result

    return tuple(entering(size) for size in caches_bytes)


def waste(guards: Iterable[Guard], extents: Mapping[str, Int]) -> Int:
    """Nominal iterations per real one, from the guards of loops with these extents.

    Guards whose index starts with the same variable bound one axis at several levels of tiling; the
    last, finest one counts. Its last term is the step from one iteration to the next.
    """
    last = {guard.index.variables[:1]: guard for guard in guards}
    return product(_waste_of(guard, extents) for guard in last.values())


def _waste_of(guard: Guard, extents: Mapping[str, Int]) -> Int:
    step = guard.index.terms[-1][1] if guard.index.terms else 1
    nominal = (guard.index.span(extents) - 1) // step + 1
    return maximum(ratio(nominal, ceil_div(guard.bound, step)), 1)


def buffer_slots(program: LoopProgram, leaves: Sequence[LeafNode]) -> list[Buffer]:
    """The buffers that leaves use, in order of their role; the order never depends on knob values.

    First what is written last (in memory, else in registers), then operands: those of reductions
    before others, those read along the vector before broadcast ones, then in the program's order.
    """
    names = [access.buffer for leaf in leaves for access in leaf.accesses]
    used = [b for b in program.buffers if b.name in names and b.scope is not Scope.TABLE]
    memory = [buffer for buffer in used if buffer.scope is not Scope.REGISTER]
    stored = [leaf.store.buffer for leaf in leaves]
    written = [name for name in stored if any(b.name == name for b in memory)] or stored
    first = [buffer for buffer in used if buffer.name == written[-1]]
    rest = [buffer for buffer in memory if buffer.name != written[-1]]
    return first + sorted(rest, key=lambda buffer: _role(buffer, leaves))


def _role(buffer: Buffer, leaves: Sequence[LeafNode]) -> tuple[bool, bool]:
    is_reduced = is_along_vector = False
    for leaf in leaves:
        vector = innermost_vector(leaf)
        for access in leaf.accesses:
            if access.buffer == buffer.name and leaf.store.reducer is not None:
                is_reduced = True
                uses = {name for index in access.index for name in index.variables}
                is_along_vector |= vector is not None and vector.variable in uses
    return not is_reduced, not is_along_vector
