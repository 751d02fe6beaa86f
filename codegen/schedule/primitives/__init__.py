"""Scheduling steps as pure functions from loop AST to loop AST."""

from codegen.schedule.primitives.binding import bind, vectorize_nest
from codegen.schedule.primitives.caching import Block, cache_read, cache_write, pack
from codegen.schedule.primitives.fusion import factor_reduction, fuse, make_local
from codegen.schedule.primitives.joining import join
from codegen.schedule.primitives.loops import fetch, parallel, reorder, split, stream, unroll, vectorize
from codegen.schedule.primitives.partial import partial_reduction
from codegen.schedule.primitives.prepare import prepare
from codegen.schedule.primitives.stages import compute_at, fission

__all__ = [
    "Block",
    "bind",
    "cache_read",
    "cache_write",
    "compute_at",
    "factor_reduction",
    "fetch",
    "fission",
    "fuse",
    "join",
    "make_local",
    "pack",
    "parallel",
    "partial_reduction",
    "prepare",
    "reorder",
    "split",
    "stream",
    "unroll",
    "vectorize",
    "vectorize_nest",
]
