"""From a loop AST to a plan: modes of loops, deferred reductions, guards that matter."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from codegen.ir.expression import Load, loads
from codegen.ir.loops import Buffer, Guard, Loop, LoopKind, Node, Scope, Store, walk_nodes
from codegen.llvm.collapse import collapse
from codegen.llvm.layout import cut, register_layouts
from codegen.llvm.linear import LoopVariable, Mode, linear
from codegen.llvm.plan import (
    Chunk,
    MemoryAccess,
    PlannedFolded,
    PlannedGuard,
    PlannedIf,
    PlannedLoop,
    PlannedNode,
    PlannedStore,
    RegisterAccess,
)
from codegen.llvm.planning_access import Surroundings, is_safe, plan_access, plan_expr, plan_range
from codegen.llvm.sites import (
    GuardId,
    bounded_extent,
    find_sites,
    is_own,
    is_vector,
    live_guards,
    skippable_guards,
)
from codegen.llvm.tables import has_table

MAX_UNROLLED_CHUNKS = 8
"""Longer vector loops run as a loop over chunks, unless their elements live in registers."""

CHUNK_COPIES = 4
"""Copies of the chunk laid out in such a loop, so that its bookkeeping stays small."""

CHEAP_MASK_LANES = 16
"""From this width on a masked load or store costs no more than a plain one (AVX-512 has mask registers)."""

MAX_UNROLLED_STORES = 32
"""Statements that the copies of a serial loop's body may amount to."""


def plan_nodes(nodes: tuple[Node, ...], buffers: tuple[Buffer, ...], lanes: int) -> tuple[PlannedNode, ...]:
    """Plan one part (body or prepack) of a program whose Ints are all plain ints."""
    nodes = collapse(nodes, {buffer.name: buffer for buffer in buffers})
    return _Planner(nodes, buffers, lanes).plan(nodes)


class _Planner:
    """Walks the AST in textual order, with the loops in scope as state."""

    def __init__(self, nodes: tuple[Node, ...], buffers: tuple[Buffer, ...], lanes: int) -> None:
        sites = find_sites(nodes)
        registers = tuple(buffer for buffer in buffers if buffer.scope is Scope.REGISTER)
        layouts = register_layouts(registers, sites, lanes)
        self.variables: dict[str, LoopVariable] = {}
        by_name = {buffer.name: buffer for buffer in buffers}
        self.around = Surroundings(by_name, layouts, self.variables, lanes)
        self.skippable = skippable_guards(sites, frozenset(layouts))
        self.guards: list[PlannedGuard] = []
        self.costly: set[GuardId] = set()
        self.hidden: frozenset[str] = frozenset()
        self.num_loops = 0
        self.num_stores = 0

    def plan(self, nodes: tuple[Node, ...]) -> tuple[PlannedNode, ...]:
        return tuple(self._node(node) for node in nodes)

    def _node(self, node: Node) -> PlannedNode:
        if isinstance(node, Loop):
            return self._loop(node)
        if isinstance(node, Store):
            return self._store(node)
        conditions = tuple(plan_range(self.around, condition) for condition in node.conditions)
        then, otherwise = self.plan(node.then), self.plan(node.otherwise)
        return PlannedIf(conditions, then, otherwise, _stored(then) | _stored(otherwise))

    def _loop(self, loop: Loop) -> PlannedLoop:
        number = self.num_loops
        self.num_loops += 1
        extents = {name: variable.extent for name, variable in self.variables.items()}
        live = live_guards(number, loop, extents | {loop.variable: cast(int, loop.extent)})
        copies = useful_copies(loop, self.around.lanes)
        variable, chunks = self._variable(loop, live, copies)
        if variable.mode is Mode.RUNTIME:
            extent = bounded_extent(loop)
            variable = replace(variable, extent=extent, last_start=max(0, extent - 1))
            live = [(identifier, guard) for identifier, guard in live if not is_own(guard, loop)]
        self.variables[loop.variable] = variable
        guards = tuple(self._guard(identifier, guard, loop.variable) for identifier, guard in live)
        predicates = () if variable.mode is Mode.RUNTIME else guards
        self.guards.extend(predicates)
        outer_hidden, self.hidden = self.hidden, self._deferrable(loop, bool(live)) if chunks else frozenset()
        body = self.plan(loop.body)
        self.hidden = outer_hidden
        del self.guards[len(self.guards) - len(predicates) :]
        del self.variables[loop.variable]
        unroll = CHUNK_COPIES if chunks else copies
        costly = tuple(g for g in (*predicates, *_costly_inside(body)) if g.identifier in self.costly)
        is_parallel = loop.kind is LoopKind.PARALLEL
        branches = variable.mode is Mode.UNROLLED and self._only_writes_memory(loop)
        return PlannedLoop(
            variable, is_parallel, unroll, guards, chunks, body, _stored(body), costly, branches, loop.fetches
        )

    def _variable(
        self, loop: Loop, live: list[tuple[GuardId, Guard]], copies: int
    ) -> tuple[LoopVariable, tuple[Chunk, ...]]:
        extent = cast(int, loop.extent)
        depth = len(self.variables)
        is_nested = any(variable.mode is Mode.VECTOR for variable in self.variables.values())
        if is_vector(loop) and not is_nested:
            chunks = cut(extent, self.around.lanes)
            at_runtime = len(chunks) > MAX_UNROLLED_CHUNKS and not self._lanes_in_registers(loop)
            last_start = chunks[-1].start
            name = loop.variable
            return LoopVariable(name, Mode.VECTOR, depth, extent, last_start, at_runtime, at_runtime), chunks
        is_unrolled = loop.kind in (LoopKind.UNROLLED, LoopKind.VECTORIZED)
        # A guarded loop keeps its dynamic trip count even where it could be laid out completely.
        if is_unrolled or (extent <= copies and not live):
            return LoopVariable(loop.variable, Mode.UNROLLED, depth, extent, extent - 1, False, False), ()
        return LoopVariable(loop.variable, Mode.RUNTIME, depth, extent, extent - 1, True, copies > 1), ()

    def _is_slow_to_mask(self, load: Load) -> bool:
        """Whether a load needs more than a mask register to stay legal where a guard fails."""
        if is_safe(self.around, load):
            return False
        access = plan_access(self.around, load.buffer, load.index)
        is_contiguous = isinstance(access, MemoryAccess) and access.offset.lane == 1
        return not is_contiguous or self.around.lanes < CHEAP_MASK_LANES

    def _only_writes_memory(self, loop: Loop) -> bool:
        """Whether no register element is written, nor a block of them transposed for later copies too."""
        vector = [node.variable for node in walk_nodes((loop,)) if isinstance(node, Loop) and is_vector(node)]
        for node in walk_nodes(loop.body):
            if not isinstance(node, Store):
                continue
            if node.buffer in self.around.layouts:
                return False
            for load in loads(node.value):
                layout = self.around.layouts.get(load.buffer)
                if layout is not None and any(
                    name in index.variables and dimension != layout.vector_dimension
                    for dimension, index in enumerate(load.index)
                    for name in vector
                ):
                    return False
        return True

    def _lanes_in_registers(self, loop: Loop) -> bool:
        for node in walk_nodes(loop.body):
            if isinstance(node, Store):
                places = [(node.buffer, node.index)]
                places += [(load.buffer, load.index) for load in loads(node.value)]
                for buffer, indices in places:
                    if buffer in self.around.layouts and any(loop.variable in i.variables for i in indices):
                        return True
        return False

    def _deferrable(self, loop: Loop, is_guarded: bool) -> frozenset[str]:
        """Targets of reductions over the lanes that nothing else in the loop touches.

        Where no lane at all may hold, only a register target can be updated anyway.
        """
        inside = [node for node in walk_nodes(loop.body) if isinstance(node, Store)]
        touched = [store.buffer for store in inside]
        touched += [load.buffer for store in inside for load in loads(store.value)]
        return frozenset(
            node.buffer
            for node in loop.body
            if isinstance(node, Store)
            and node.reducer is not None
            and touched.count(node.buffer) == 1
            and all(loop.variable not in index.variables for index in node.index)
            and (node.buffer in self.around.layouts or not is_guarded)
        )

    def _guard(self, identifier: GuardId, guard: Guard, own: str) -> PlannedGuard:
        terms = tuple((self.variables[name], cast(int, factor)) for name, factor in guard.index.terms)
        index = linear(guard.index, self.variables)
        return PlannedGuard(
            identifier, terms, index, cast(int, guard.bound), cast(int, guard.index.coefficient(own))
        )

    def _store(self, store: Store) -> PlannedStore:
        skippable = self.skippable[self.num_stores]
        self.num_stores += 1
        target = plan_access(self.around, store.buffer, store.index)
        is_deferred = store.buffer in self.hidden
        is_unsafe = any(self._is_slow_to_mask(load) for load in loads(store.value))
        for guard in self.guards:
            if isinstance(target, RegisterAccess):
                is_costly = guard.identifier not in skippable
            else:
                # A masked store cannot go past the caches.
                is_streamed = self.around.buffers[store.buffer].is_streamed
                is_costly = target.offset.lane != 1 or self.around.lanes < CHEAP_MASK_LANES or is_streamed
            if is_costly or is_unsafe:
                self.costly.add(guard.identifier)
        value = plan_expr(self.around, store.value)
        value = PlannedFolded(value) if has_table(value) else value
        return PlannedStore(target, value, store.reducer, skippable, is_deferred)


def useful_copies(loop: Loop, lanes: int) -> int:
    """How many copies of a serial loop's body to lay out, at most what the schedule asks for.

    Copies save the bookkeeping of one loop level, which only shows where no other loop runs inside and
    the body is short; beyond that they cost compile time and instruction cache.
    """
    copies = cast(int, loop.unroll)
    if loop.kind is not LoopKind.SERIAL or copies == 1:
        return 1
    if any(_is_runtime(node) for node in walk_nodes(loop.body)):
        return 1
    room = MAX_UNROLLED_STORES // max(1, _num_stores(loop.body, lanes))
    return max(
        (factor for factor in range(1, copies + 1) if copies % factor == 0 and factor <= room), default=1
    )


def _is_runtime(node: Node) -> bool:
    if not isinstance(node, Loop) or node.kind in (LoopKind.UNROLLED, LoopKind.VECTORIZED):
        return False
    extent = cast(int, node.extent)
    return extent > 1 and (bool(node.guards) or extent > cast(int, node.unroll))


def _num_stores(nodes: tuple[Node, ...], lanes: int) -> int:
    """Vector or scalar stores that one copy of a body consists of."""
    total = 0
    for node in nodes:
        if isinstance(node, Store):
            total += 1
        elif isinstance(node, Loop):
            extent = cast(int, node.extent)
            times = len(cut(extent, lanes)) if is_vector(node) else extent
            total += times * _num_stores(node.body, lanes)
        else:
            total += _num_stores(node.then, lanes) + _num_stores(node.otherwise, lanes)
    return total


def _stored(nodes: tuple[PlannedNode, ...]) -> frozenset[str]:
    names: set[str] = set()
    for node in nodes:
        names |= {node.target.buffer} if isinstance(node, PlannedStore) else node.stored
    return frozenset(names)


def _costly_inside(nodes: tuple[PlannedNode, ...]) -> list[PlannedGuard]:
    found: list[PlannedGuard] = []
    for node in nodes:
        if isinstance(node, PlannedLoop):
            found.extend(node.costly)
        elif isinstance(node, PlannedIf):
            found.extend(_costly_inside(node.then) + _costly_inside(node.otherwise))
    return found
