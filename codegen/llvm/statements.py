"""Loops and conditions of a plan."""

from __future__ import annotations

from codegen.llvm.address import all_of, guard_predicate, negated, range_predicate, runtime_index
from codegen.llvm.control import Counted, emit_branch, emit_counted
from codegen.llvm.linear import Mode, displacement, known_range
from codegen.llvm.plan import Chunk, PlannedGuard, PlannedIf, PlannedLoop, PlannedNode, PlannedStore
from codegen.llvm.stores import complete_reduction, emit_store, hidden_name, start_reduction
from codegen.llvm.versions import emit_versions
from codegen.llvm.writer import Predicate, Writer


def emit_nodes(writer: Writer, nodes: tuple[PlannedNode, ...]) -> None:
    """Emit statements in order."""
    for node in nodes:
        if isinstance(node, PlannedStore):
            emit_store(writer, node)
        elif isinstance(node, PlannedLoop):
            emit_loop(writer, node)
        else:
            _emit_if(writer, node)


def emit_loop(writer: Writer, loop: PlannedLoop) -> None:
    """Emit a loop, in two versions if that frees the common one of tests."""
    emit_versions(writer, loop, lambda: _emit_plain_loop(writer, loop))


def _emit_plain_loop(writer: Writer, loop: PlannedLoop) -> None:
    mode = loop.variable.mode
    if mode is Mode.VECTOR:
        _emit_vector(writer, loop)
    elif mode is Mode.UNROLLED:
        name = loop.variable.name
        for value in range(loop.variable.extent):
            writer.offsets[name] = value
            _emit_predicated(writer, loop)
        del writer.offsets[name]
    else:
        _emit_runtime(writer, loop)


def _emit_predicated(writer: Writer, loop: PlannedLoop) -> None:
    """One copy of a body (or one chunk of lanes) under the loop's guards."""
    if not loop.guards:
        emit_nodes(writer, loop.body)
        return
    depth = len(writer.predicates)
    holds = all(_push_guard(writer, guard) for guard in loop.guards)
    added = writer.predicates[depth:]
    if holds and loop.branches and added and writer.width == 1:
        del writer.predicates[depth:]
        emit_branch(writer, all_of(writer, added).scalar, lambda: emit_nodes(writer, loop.body), None)
    elif holds:
        emit_nodes(writer, loop.body)
    del writer.predicates[depth:]


def _push_guard(writer: Writer, guard: PlannedGuard) -> bool:
    """Put a guard among the conditions unless it is known; returns whether it can hold at all."""
    if guard.identifier in writer.proven:
        return True
    predicate = guard_predicate(writer, guard.index, guard.bound, guard.identifier)
    if isinstance(predicate, bool):
        return predicate
    if predicate.scalar in writer.refuted:
        return False
    writer.predicates.append(predicate)
    return True


def _emit_vector(writer: Writer, loop: PlannedLoop) -> None:
    name = loop.variable.name
    widths = list(dict.fromkeys(chunk.width for chunk in loop.chunks))
    deferred = [node for node in loop.body if isinstance(node, PlannedStore) and node.is_deferred]
    for store in deferred:
        start_reduction(writer, store, widths)
    chunks = loop.chunks
    if loop.variable.is_runtime:
        lanes = chunks[0].width
        full = tuple(chunk for chunk in chunks if chunk.count == chunk.width == lanes)
        stored = loop.stored | {hidden_name(store) for store in deferred}
        _emit_copies(writer, loop, len(full), lanes, stored)
        chunks = chunks[len(full) :]
        if chunks:
            last = chunks[0].start
            only = Counted(name, str(last), str(last + 1), 1, stored)
            emit_counted(writer, only, lambda: _emit_chunk(writer, loop, chunks[0]))
    else:
        for chunk in chunks:
            writer.offsets[name] = chunk.start
            _emit_chunk(writer, loop, chunk)
        del writer.offsets[name]
    for store in deferred:
        complete_reduction(writer, store, widths)


def _emit_chunk(writer: Writer, loop: PlannedLoop, chunk: Chunk) -> None:
    writer.width, writer.count, writer.fetches = chunk.width, chunk.count, loop.fetches
    _emit_predicated(writer, loop)
    writer.width, writer.count, writer.fetches = 1, 1, None


def _emit_copies(
    writer: Writer, loop: PlannedLoop, num_chunks: int, lanes: int, stored: frozenset[str]
) -> None:
    """The full chunks of a long vector loop, several copies in a row."""
    name = loop.variable.name
    full = Chunk(0, lanes, lanes)

    def body(copies: int) -> None:
        for copy in range(copies):
            writer.offsets[name] = copy * lanes
            _emit_chunk(writer, loop, full)

    unrolled = num_chunks - num_chunks % loop.unroll
    main = Counted(name, "0", str(unrolled * lanes), loop.unroll * lanes, stored)
    emit_counted(writer, main, lambda: body(loop.unroll))
    rest = Counted(name, str(unrolled * lanes), str(num_chunks * lanes), lanes, stored)
    emit_counted(writer, rest, lambda: body(1))


def _emit_runtime(writer: Writer, loop: PlannedLoop) -> None:
    """A loop with a trip count; guards that grow with the variable only shorten it."""
    name, extent = loop.variable.name, loop.variable.extent
    bounding = [g for g in loop.guards if g.own >= 0 and g.index.lane == 0]
    others = [g for g in loop.guards if g not in bounding]
    trip, may_be_empty = str(extent), False
    for guard in bounding:
        trip, can_be_zero = _shortened(writer, guard, trip, name)
        may_be_empty = may_be_empty or can_be_zero

    def body(copies: int) -> None:
        for copy in range(copies):
            writer.offsets[name] = copy
            depth = len(writer.predicates)
            if all(_push_guard(writer, guard) for guard in others):
                emit_nodes(writer, loop.body)
            del writer.predicates[depth:]

    unroll = max(1, min(loop.unroll, extent))
    main_stop = _rounded_down(writer, trip, unroll)
    is_exact = main_stop == trip
    main = Counted(name, "0", main_stop, unroll, loop.stored, may_be_empty or not is_exact)
    emit_counted(writer, main, lambda: body(unroll))
    if not is_exact:
        rest = Counted(name, main_stop, trip, 1, loop.stored, not trip.isdigit())
        emit_counted(writer, rest, lambda: body(1))


def _rounded_down(writer: Writer, trip: str, unroll: int) -> str:
    if unroll == 1:
        return trip
    if trip.isdigit():
        return str(int(trip) - int(trip) % unroll)
    rest = writer.value(f"urem i64 {trip}, {unroll}")
    return writer.value(f"sub i64 {trip}, {rest}")


def _shortened(writer: Writer, guard: PlannedGuard, trip: str, name: str) -> tuple[str, bool]:
    """The number of iterations before a guard first fails, at most ``trip``; whether it can be zero."""
    index = guard.index
    if guard.identifier in writer.proven:
        return trip, False
    writer.offsets[name] = 0
    room = guard.bound - displacement(index, writer.offsets)
    most = known_range(index, writer.offsets)[1]
    del writer.offsets[name]
    if most < guard.bound:
        return trip, False
    outer = tuple(term for term in index.runtime if term[0] != name)
    left = str(room) if not outer else writer.value(f"sub i64 {room}, {runtime_index(writer, outer)}")
    if guard.own == 0:
        condition = writer.value(f"icmp sgt i64 {left}, 0")
        return writer.value(f"select i1 {condition}, i64 {trip}, i64 0"), True
    own_reach = next(c for n, c in index.runtime if n == name) * (int(trip) - 1 if trip.isdigit() else 0)
    if not outer:
        count = str(max(0, -(-room // guard.own)))
        return _minimum(writer, count, trip), count == "0"
    if guard.own > 1:
        raised = writer.value(f"add i64 {left}, {guard.own - 1}")
        # The room may be negative; a signed division towards zero is then still not positive.
        left = writer.value(f"sdiv i64 {raised}, {guard.own}")
    shorter = _minimum(writer, left, trip)
    if most - own_reach < guard.bound:
        return shorter, False
    is_negative = writer.value(f"icmp slt i64 {shorter}, 0")
    return writer.value(f"select i1 {is_negative}, i64 0, i64 {shorter}"), True


def _minimum(writer: Writer, left: str, right: str) -> str:
    if left.isdigit() and right.isdigit():
        return str(min(int(left), int(right)))
    is_less = writer.value(f"icmp slt i64 {left}, {right}")
    return writer.value(f"select i1 {is_less}, i64 {left}, i64 {right}")


def _emit_if(writer: Writer, node: PlannedIf) -> None:
    parts: list[Predicate] = []
    for condition in node.conditions:
        part = range_predicate(writer, condition)
        if part is False:
            emit_nodes(writer, node.otherwise)
            return
        if part is not True:
            parts.append(part)
    if not parts:
        emit_nodes(writer, node.then)
        return
    predicate = all_of(writer, parts)
    if predicate.mask:
        _emit_under(writer, predicate, node.then)
        if node.otherwise:
            _emit_under(writer, negated(writer, predicate), node.otherwise)
        return
    otherwise = (lambda: emit_nodes(writer, node.otherwise)) if node.otherwise else None
    emit_branch(writer, predicate.scalar, lambda: emit_nodes(writer, node.then), otherwise)


def _emit_under(writer: Writer, predicate: Predicate, nodes: tuple[PlannedNode, ...]) -> None:
    writer.predicates.append(predicate)
    emit_nodes(writer, nodes)
    writer.predicates.pop()
