"""Cutting vector dimensions into chunks that fit a vector register."""

from __future__ import annotations

from typing import cast

from codegen.ir.loops import Buffer, row_major_strides
from codegen.llvm.plan import Chunk, Layout
from codegen.llvm.sites import Sites

MIN_WIDTH = 4
"""Narrowest vector: the smallest register of x86 and Arm has four floats."""


def cut(extent: int, lanes: int) -> tuple[Chunk, ...]:
    """Chunks that cover ``extent`` elements; a rest is rounded up to the next power of two.

    >>> [(chunk.start, chunk.count, chunk.width) for chunk in cut(20, 16)]
    [(0, 16, 16), (16, 4, 4)]
    """
    full = [Chunk(start, lanes, lanes) for start in range(0, extent - lanes + 1, lanes)]
    rest = extent % lanes
    if rest:
        full.append(Chunk(extent - rest, rest, max(MIN_WIDTH, 1 << (rest - 1).bit_length())))
    return tuple(full)


def register_layouts(buffers: tuple[Buffer, ...], sites: Sites, lanes: int) -> dict[str, Layout]:
    """Layout of each register buffer: the dimension that its first vector store runs along is cut."""
    return {buffer.name: _layout(buffer, sites, lanes) for buffer in buffers}


def _layout(buffer: Buffer, sites: Sites, lanes: int) -> Layout:
    shape = cast(tuple[int, ...], buffer.shape)
    for site in sites.stores:
        loop = site.vector_loop
        if site.buffer != buffer.name or loop is None:
            continue
        for dimension, index in enumerate(site.index):
            if index.coefficient(loop.variable) == 1:
                return _vector_layout(shape, dimension, cast(int, loop.extent), lanes)
    return Layout(cast(tuple[int, ...], row_major_strides(shape)), None, ())


def _vector_layout(shape: tuple[int, ...], dimension: int, loop_extent: int, lanes: int) -> Layout:
    size = shape[dimension]
    # Several loops of this extent side by side fill the dimension: cut it where each of them is cut.
    step = loop_extent if size % loop_extent == 0 else size
    chunks = tuple(
        Chunk(start + chunk.start, chunk.count, chunk.width)
        for start in range(0, size, step)
        for chunk in cut(step, lanes)
    )
    others = tuple(1 if position == dimension else extent for position, extent in enumerate(shape))
    strides = list(cast(tuple[int, ...], row_major_strides(others)))
    strides[dimension] = 0
    return Layout(tuple(strides), dimension, chunks)
