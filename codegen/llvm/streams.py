"""Stores past the caches, and fetching into them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from codegen.llvm.address import element_pointer
from codegen.llvm.control import emit_branch
from codegen.llvm.layout import MIN_WIDTH
from codegen.llvm.linear import displacement
from codegen.llvm.plan import MemoryAccess
from codegen.llvm.writer import Writer, float_type

NONTEMPORAL = "!0 = !{i32 1}"
"""The metadata that a module with such stores has to define."""

LINE_BYTES = 64
"""Of a cache line; no vector is longer."""


def emit_streaming(writer: Writer, emit: Callable[[], None]) -> None:
    """Emit statements, and where they store past the caches once more for an output inside a cache line.

    Only an aligned vector can be written so, and it is the caller's array that decides: one test of its
    address chooses between a version whose stores all know where they are and one with plain stores.
    Streamed stores reach other threads in no order with later ones, so that a fence follows them.
    """
    if not writer.streamed:
        emit()
        return
    (buffer,) = writer.streamed
    number = writer.value(f"ptrtoint ptr {writer.pointers[buffer]} to i64")
    rest = writer.value(f"and i64 {number}, {LINE_BYTES - 1}")
    is_aligned = writer.value(f"icmp eq i64 {rest}, 0")

    def emit_streamed() -> None:
        emit()
        writer.line("fence seq_cst")

    def emit_plain() -> None:
        kept, writer.streamed = writer.streamed, frozenset()
        emit()
        writer.streamed = kept

    emit_branch(writer, is_aligned, emit_streamed, emit_plain)


def emit_streamed_store(writer: Writer, access: MemoryAccess, value: str, address: str) -> None:
    """Write a vector past the caches, in as large parts as are aligned in every iteration.

    Rows that are no multiple of a vector begin inside a line: halves or quarters of a vector still fill whole
    lines together. What has less than a quarter of 16 floats is stored plainly.
    """
    kind, width = float_type(writer.width), writer.width
    part = math.gcd(width, displacement(access.offset, writer.offsets), *_steps(access))
    if part < MIN_WIDTH:
        writer.line(f"store {kind} {value}, ptr {address}, align 4")
        return
    for first in range(0, width, part):
        piece, place = value, address
        if part < width:
            lanes = ", ".join(f"i32 {lane}" for lane in range(first, first + part))
            piece = writer.value(f"shufflevector {kind} {value}, {kind} poison, <{part} x i32> <{lanes}>")
        if first:
            place = writer.value(f"getelementptr float, ptr {address}, i64 {first}")
        writer.line(f"store {float_type(part)} {piece}, ptr {place}, align {4 * part}, !nontemporal !0")


def _steps(access: MemoryAccess) -> list[int]:
    """Elements by which an address moves with each runtime variable."""
    return [coefficient for _, coefficient in access.offset.runtime]


def emit_fetch(writer: Writer, access: MemoryAccess) -> None:
    """Ask for what a later iteration reads, if the loop says so; no address is illegal to ask for.

    It comes into the second cache (locality 2 of 3): a row that is worked on may fill the first.
    """
    fetches = writer.fetches
    if fetches is None or fetches.follows != access.buffer:
        return
    writer.declarations.add("void @llvm.prefetch.p0(ptr, i32 immarg, i32 immarg, i32 immarg)")
    there = replace(access, buffer=fetches.buffer)
    address = element_pointer(writer, there, fetches.distance)
    writer.line(f"call void @llvm.prefetch.p0(ptr {address}, i32 0, i32 2, i32 1)")
