"""From a loop AST to a plan: modes of loops, deferred reductions, guards that matter."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from codegen.ir.arithmetic import ceil_div
from codegen.ir.expression import loads
from codegen.ir.loops import Buffer, Guard, Loop, LoopKind, Node, Scope, Store, walk_nodes
from codegen.llvm.layout import cut, register_layouts
from codegen.llvm.linear import LoopVariable, Mode, linear
from codegen.llvm.plan import (
    Chunk,
    PlannedGuard,
    PlannedIf,
    PlannedLoop,
    PlannedNode,
    PlannedStore,
    RegisterAccess,
)
from codegen.llvm.planning_access import Surroundings, is_safe, plan_access, plan_expr, plan_range
from codegen.llvm.sites import GuardId, find_sites, is_vector, live_guards, skippable_guards

MAX_UNROLLED_CHUNKS = 8
"""Longer vector loops run as a loop over chunks, unless their elements live in registers."""

CHUNK_COPIES = 4
"""Copies of the chunk laid out in such a loop, so that its bookkeeping stays small."""


def plan_nodes(nodes: tuple[Node, ...], buffers: tuple[Buffer, ...], lanes: int) -> tuple[PlannedNode, ...]:
    """Plan one part (body or prepack) of a program whose Ints are all plain ints."""
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
        variable, chunks = self._variable(loop, live)
        if variable.mode is Mode.RUNTIME:
            variable, live = _shrink(variable, live)
        self.variables[loop.variable] = variable
        guards = tuple(self._guard(identifier, guard, loop.variable) for identifier, guard in live)
        predicates = () if variable.mode is Mode.RUNTIME else guards
        self.guards.extend(predicates)
        outer_hidden, self.hidden = self.hidden, self._deferrable(loop, bool(live)) if chunks else frozenset()
        body = self.plan(loop.body)
        self.hidden = outer_hidden
        del self.guards[len(self.guards) - len(predicates) :]
        del self.variables[loop.variable]
        unroll = CHUNK_COPIES if chunks else cast(int, loop.unroll)
        costly = tuple(g for g in (*predicates, *_costly_inside(body)) if g.identifier in self.costly)
        is_parallel = loop.kind is LoopKind.PARALLEL
        return PlannedLoop(variable, is_parallel, unroll, guards, chunks, body, _stored(body), costly)

    def _variable(
        self, loop: Loop, live: list[tuple[GuardId, Guard]]
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
        copies = cast(int, loop.unroll) if loop.kind is LoopKind.SERIAL else 1
        # A guarded loop keeps its dynamic trip count even where it could be laid out completely.
        if is_unrolled or (extent <= copies and not live):
            return LoopVariable(loop.variable, Mode.UNROLLED, depth, extent, extent - 1, False, False), ()
        return LoopVariable(loop.variable, Mode.RUNTIME, depth, extent, extent - 1, True, copies > 1), ()

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
        is_memory = not isinstance(target, RegisterAccess)
        is_unsafe = not all(is_safe(self.around, load) for load in loads(store.value))
        for guard in self.guards:
            if is_memory or is_unsafe or guard.identifier not in skippable:
                self.costly.add(guard.identifier)
        value = plan_expr(self.around, store.value)
        return PlannedStore(target, value, store.reducer, skippable, is_deferred)


def _shrink(
    variable: LoopVariable, live: list[tuple[GuardId, Guard]]
) -> tuple[LoopVariable, list[tuple[GuardId, Guard]]]:
    """Turn guards in the loop's own variable alone into a smaller extent."""
    extent = variable.extent
    kept = []
    for identifier, guard in live:
        factor = cast(int, guard.index.coefficient(variable.name))
        if guard.index.variables == (variable.name,) and factor > 0:
            room = cast(int, guard.bound) - cast(int, guard.index.constant)
            extent = min(extent, max(0, cast(int, ceil_div(room, factor))))
        else:
            kept.append((identifier, guard))
    return replace(variable, extent=extent, last_start=max(0, extent - 1)), kept


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
