"""Stores past the caches, and fetching into them."""

from __future__ import annotations

from codegen.llvm.control import emit_branch
from codegen.llvm.writer import Writer, float_type

NONTEMPORAL = "!0 = !{i32 1}"
"""The metadata that a module with such stores has to define."""


def emit_streamed_store(writer: Writer, value: str, address: str) -> None:
    """Write a vector past the caches where its address is a multiple of its size, plainly elsewhere.

    Only an aligned vector can be written so. The caller's array decides, so the test runs; compared
    with memory it costs nothing.
    """
    kind, num_bytes = float_type(writer.width), 4 * writer.width
    number = writer.value(f"ptrtoint ptr {address} to i64")
    rest = writer.value(f"and i64 {number}, {num_bytes - 1}")
    is_aligned = writer.value(f"icmp eq i64 {rest}, 0")
    emit_branch(
        writer,
        is_aligned,
        lambda: writer.line(f"store {kind} {value}, ptr {address}, align {num_bytes}, !nontemporal !0"),
        lambda: writer.line(f"store {kind} {value}, ptr {address}, align 4"),
    )


def emit_fetch(writer: Writer, buffer: str, address: str) -> None:
    """Ask for what a later iteration reads, if the loop says so; no address is illegal to ask for.

    It comes into the second cache (locality 2 of 3): a row that is worked on may fill the first.
    """
    fetches = writer.fetches
    if fetches is None or fetches.buffer != buffer:
        return
    writer.declarations.add("void @llvm.prefetch.p0(ptr, i32 immarg, i32 immarg, i32 immarg)")
    later = writer.value(f"getelementptr float, ptr {address}, i64 {fetches.distance}")
    writer.line(f"call void @llvm.prefetch.p0(ptr {later}, i32 0, i32 2, i32 1)")


def finish_streams(writer: Writer) -> None:
    """Such stores reach other threads in no order with later ones, unless a fence stands between."""
    if writer.streamed:
        writer.line("fence seq_cst")
