"""Work shared by a team of threads inside one parallel region."""

from __future__ import annotations

import math

from codegen.llvm.address import all_of, guard_predicate
from codegen.llvm.control import Counted, emit_branch, emit_counted
from codegen.llvm.linear import Mode
from codegen.llvm.plan import PlannedIf, PlannedLoop, PlannedNode
from codegen.llvm.statements import emit_nodes
from codegen.llvm.writer import Predicate, Writer

BARRIER_DECLARATION = "void @GOMP_barrier()"

BARRIER_LINE = "  call void @GOMP_barrier()"
"""Where every thread of a team waits for the others."""


def emit_team(writer: Writer, nodes: tuple[PlannedNode, ...]) -> None:
    """What every thread of the team runs: its share of parallel nests, and the rest on thread 0.

    A barrier follows every part but the last, whose end is the end of the region.
    """
    position = 0
    while position < len(nodes):
        node = nodes[position]
        count = 1
        if isinstance(node, PlannedLoop) and node.is_parallel:
            _emit_nest(writer, node)
        elif isinstance(node, PlannedLoop) and _is_shared_loop(node):
            _emit_shared_loop(writer, node)
        else:
            while position + count < len(nodes) and not _has_parallel(nodes[position + count]):
                count += 1
            _emit_on_first(writer, nodes[position : position + count])
        position += count
        if position < len(nodes):
            _emit_barrier(writer)


def _emit_barrier(writer: Writer) -> None:
    writer.declarations.add(BARRIER_DECLARATION)
    writer.lines.append(BARRIER_LINE)


def _emit_on_first(writer: Writer, nodes: tuple[PlannedNode, ...]) -> None:
    is_first = writer.value("icmp eq i64 %thread, 0")
    emit_branch(writer, is_first, lambda: emit_nodes(writer, nodes), None)


def _emit_shared_loop(writer: Writer, loop: PlannedLoop) -> None:
    """A serial loop that every thread runs through, meeting at barriers inside."""
    name = loop.variable.name

    def body() -> None:
        emit_team(writer, loop.body)
        _emit_barrier(writer)

    emit_counted(writer, Counted(name, "0", str(loop.variable.extent), 1, loop.stored), body)


def _emit_nest(writer: Writer, outermost: PlannedLoop) -> None:
    """Perfectly nested parallel loops as one range of numbers, a contiguous piece for each thread."""
    loops = _perfect_nest(outermost)
    num_iterations = math.prod(loop.variable.extent for loop in loops)
    first = writer.value(f"mul i64 %thread, {num_iterations}")
    start = writer.value(f"udiv i64 {first}, %threads")
    after = writer.value(f"add i64 {first}, {num_iterations}")
    stop = writer.value(f"udiv i64 {after}, %threads")
    name = f"{outermost.variable.name} flat"
    share = Counted(name, start, stop, 1, outermost.stored, may_be_empty=True, is_private=True)
    emit_counted(writer, share, lambda: _emit_iteration(writer, loops, name))


def _emit_iteration(writer: Writer, loops: list[PlannedLoop], flat: str) -> None:
    head, number = writer.heads[flat], writer.names[flat]
    inner = math.prod(loop.variable.extent for loop in loops)
    for position, loop in enumerate(loops):
        variable = loop.variable
        inner //= variable.extent
        writer.offsets[variable.name] = 0
        if variable.mode is Mode.UNROLLED:
            continue
        value = number
        if inner > 1:
            value = writer.head_value(head, ("piece", position), f"udiv i64 {value}, {inner}")
        if any(other.variable.extent > 1 for other in loops[:position]):
            value = writer.head_value(head, ("digit", position), f"urem i64 {value}, {variable.extent}")
        writer.names[variable.name], writer.heads[variable.name] = value, head
    _emit_guarded_body(writer, loops)
    for loop in loops:
        writer.offsets.pop(loop.variable.name)
        writer.names.pop(loop.variable.name, None)
        writer.heads.pop(loop.variable.name, None)


def _emit_guarded_body(writer: Writer, loops: list[PlannedLoop]) -> None:
    parts: list[Predicate] = []
    for loop in loops:
        for guard in loop.guards:
            part = guard_predicate(writer, guard.index, guard.bound, guard.identifier)
            if part is False:
                return
            if part is not True:
                parts.append(part)
    body = loops[-1].body
    if not parts:
        emit_nodes(writer, body)
        return
    emit_branch(writer, all_of(writer, parts).scalar, lambda: emit_nodes(writer, body), None)


def _perfect_nest(loop: PlannedLoop) -> list[PlannedLoop]:
    loops = [loop]
    while len(loop.body) == 1 and isinstance(loop.body[0], PlannedLoop) and loop.body[0].is_parallel:
        loop = loop.body[0]
        loops.append(loop)
    return loops


def _is_shared_loop(loop: PlannedLoop) -> bool:
    """A plain serial loop around parallel ones; others run on one thread with all that is inside."""
    is_plain = loop.variable.mode is Mode.RUNTIME and not loop.guards and loop.unroll == 1
    return is_plain and _has_parallel(loop)


def _has_parallel(node: PlannedNode) -> bool:
    if isinstance(node, PlannedIf):
        return False
    return isinstance(node, PlannedLoop) and (
        node.is_parallel or (node.variable.mode is Mode.RUNTIME and any(map(_has_parallel, node.body)))
    )
