"""Branches and counted loops, with phi values for the register elements they change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from codegen.llvm.writer import Closed, Head, Induction, Lines, RegisterKey, Writer, float_type, zero


@dataclass(frozen=True, slots=True)
class Counted:
    """``for name in range(start, stop, step)``; bounds are i64 values or literals, ``step`` is positive.

    Register elements of a loop that ``is_private`` are not read before they are written in an iteration,
    nor after the loop.
    """

    name: str
    start: str
    stop: str
    step: int
    stored: frozenset[str]
    may_be_empty: bool = False
    is_private: bool = False


def emit_branch(
    writer: Writer, condition: str, then: Callable[[], None], otherwise: Callable[[], None] | None
) -> None:
    """Run one of two emitters depending on an i1, and merge the register elements they leave.

    Without ``otherwise``, a branch right after another on the same condition goes on with its block: every
    block costs LLVM much more than what little is in it.
    """
    if otherwise is None:
        _emit_conditional(writer, condition, then)
        return
    then_label, end_label, else_label = writer.new_label(), writer.new_label(), writer.new_label()
    writer.line(f"br i1 {condition}, label %{then_label}, label %{else_label}")
    before = dict(writer.registers)
    after_then, then_block = _emit_side(writer, then_label, end_label, then)
    writer.registers = before
    after_else, else_block = _emit_side(writer, else_label, end_label, otherwise)
    writer.begin(end_label)
    writer.registers = _merged(writer, after_then, then_block, after_else, else_block)


def emit_counted(writer: Writer, loop: Counted, body: Callable[[], None]) -> None:
    """Emit a counted loop; ``writer.names[loop.name]`` is the variable inside the body."""
    for buffer in loop.stored:
        writer.forget_loads(buffer)
    is_known = loop.start.isdigit() and loop.stop.isdigit()
    if is_known and int(loop.start) >= int(loop.stop):
        return
    if is_known and int(loop.start) + loop.step >= int(loop.stop):
        _open(writer, loop.name, loop.start)
        body()
        _close(writer, loop.name)
    else:
        _emit_real_loop(writer, loop, body)
    for buffer in loop.stored:
        writer.forget_loads(buffer)


def _emit_conditional(writer: Writer, condition: str, then: Callable[[], None]) -> None:
    closed = writer.closed[-1] if writer.closed else None
    before = dict(writer.registers)
    if closed is not None and (closed.condition, closed.position) == (condition, len(writer.lines)):
        del writer.lines[-2:]  # the branch to the end, and its label
        writer.closed.pop()
        end_label, skipping_block, writer.block = closed.end_label, closed.skipping_block, closed.block
        after, block = _emit_side(writer, "", end_label, then)
    else:
        then_label, end_label, skipping_block = writer.new_label(), writer.new_label(), writer.block
        writer.line(f"br i1 {condition}, label %{then_label}, label %{end_label}")
        after, block = _emit_side(writer, then_label, end_label, then)
    writer.begin(end_label)
    position = len(writer.lines)
    writer.registers = _merged(writer, after, block, before, skipping_block)
    writer.closed.append(Closed(condition, position, block, skipping_block, end_label))


def _emit_side(
    writer: Writer, label: str, end_label: str, emit: Callable[[], None]
) -> tuple[dict[RegisterKey, str], str]:
    """One side of a branch up to its jump to the end: the registers it leaves and its last block."""
    mark = len(writer.trail)
    if label:
        writer.begin(label)
    emit()
    writer.forget_since(mark)
    block = writer.block
    writer.line(f"br label %{end_label}")
    return writer.registers, block


def _emit_real_loop(writer: Writer, loop: Counted, body: Callable[[], None]) -> None:
    header, end = writer.new_label(), writer.new_label()
    before, before_block = writer.registers, writer.block
    induction = Induction(loop.name, loop.start, loop.step)
    writer.lines.append(induction.before)
    if loop.may_be_empty:
        condition = writer.value(f"icmp slt i64 {loop.start}, {loop.stop}")
        writer.line(f"br i1 {condition}, label %{header}, label %{end}")
    else:
        writer.line(f"br label %{header}")
    writer.begin(header)
    phis: Lines = []
    writer.lines.append(phis)
    variable = writer.fresh()
    carried = {} if loop.is_private else _carried(writer, loop.stored)
    writer.registers = before | carried
    mark = len(writer.trail)
    _open(writer, loop.name, variable, induction)
    body()
    _close(writer, loop.name)
    writer.forget_since(mark)
    following = writer.value(f"add nuw nsw i64 {variable}, {loop.step}")
    condition = writer.value(f"icmp slt i64 {following}, {loop.stop}")
    latch = writer.block
    for name, initial, advance in induction.pointers:
        moved = writer.value(f"getelementptr float, ptr {name}, i64 {advance}")
        phis.append(f"  {name} = phi ptr [ {initial}, %{before_block} ], [ {moved}, %{latch} ]")
    writer.line(f"br i1 {condition}, label %{header}, label %{end}")
    phis.append(f"  {variable} = phi i64 [ {loop.start}, %{before_block} ], [ {following}, %{latch} ]")
    for key, name in carried.items():
        kind = float_type(writer.widths[key])
        phis.append(
            f"  {name} = phi {kind} [ {before[key]}, %{before_block} ], [ {writer.registers[key]}, %{latch} ]"
        )
    writer.begin(end)
    if loop.is_private:
        writer.registers = before
    elif loop.may_be_empty:
        writer.registers = _merged(writer, writer.registers, latch, before, before_block)


def _carried(writer: Writer, stored: frozenset[str]) -> dict[RegisterKey, str]:
    return {key: writer.fresh() for key in writer.registers if key[0] in stored}


def _open(writer: Writer, name: str, value: str, induction: Induction | None = None) -> None:
    head = Head(induction=induction)
    writer.lines.append(head.lines)
    writer.heads[name] = head
    writer.names[name] = value
    writer.offsets[name] = 0


def _close(writer: Writer, name: str) -> None:
    del writer.heads[name], writer.names[name], writer.offsets[name]


def _merged(
    writer: Writer,
    first: dict[RegisterKey, str],
    first_block: str,
    second: dict[RegisterKey, str],
    second_block: str,
) -> dict[RegisterKey, str]:
    """Phi values at the start of the block that two blocks lead to."""
    result = dict(second)
    for key in dict.fromkeys((*first, *second)):
        width = writer.widths[key]
        one, two = first.get(key, zero(width)), second.get(key, zero(width))
        if one != two:
            result[key] = writer.value(
                f"phi {float_type(width)} [ {one}, %{first_block} ], [ {two}, %{second_block} ]"
            )
    return result
