"""Primitives on single loops and nests: split, reorder, vectorize, unroll, parallel; stream and fetch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from codegen.ir.affine import variable
from codegen.ir.arithmetic import Int, Symbol, ceil_div, is_known
from codegen.ir.loops import Fetch, Guard, Loop, LoopKind, LoopProgram, Scope
from codegen.schedule.errors import require
from codegen.schedule.rewrite import Nodes, chain, find_loop, loop_extents, replace_loop, substitute, wrap


def split(program: LoopProgram, name: str, factor: Int, names: tuple[str, str]) -> LoopProgram:
    """Cut a loop into tiles of ``factor`` iterations; the last tile is guarded when it is not full.

    >>> from codegen.schedule.examples import show, vector_add
    >>> show(vector_add(10))
    for i in range(10):
        c[i] = a[i] + b[i]
    >>> show(split(vector_add(10), "i", 4, ("i0", "i1")))
    for i0 in range(3):
        for i1 in range(4): if i0*4 + i1 < 10
            c[i0*4 + i1] = a[i0*4 + i1] + b[i0*4 + i1]
    """
    require(_is_positive(factor), f"split factor of {name!r} must be positive, got {factor}")
    outer, inner = names
    taken = set(loop_extents(program.body)) - {name}
    require(outer != inner and not taken & {outer, inner}, f"loops {names} exist already")
    whole = variable(outer) * factor + variable(inner)
    start = variable(outer) * factor

    def cut(loop: Loop) -> Nodes:
        bounds = [Guard(g.index.substitute({name: whole}), g.bound) for g in loop.guards]
        starts = [Guard(g.index.substitute({name: start}), g.bound) for g in loop.guards]
        is_full = is_known(loop.extent, factor) and loop.extent % factor == 0  # type: ignore[operator]
        if not is_full and not (loop.guards and _is_multiple(loop.extent, factor)):
            bounds.append(Guard(whole, loop.extent))
        body = substitute(loop.body, {name: whole})
        inside = replace(loop, variable=inner, extent=factor, body=body, guards=tuple(bounds))
        num_tiles = ceil_div(loop.extent, factor)
        return (replace(loop, variable=outer, extent=num_tiles, body=(inside,), guards=tuple(starts)),)

    return replace_loop(program, name, cut)


def reorder(program: LoopProgram, names: Sequence[str]) -> LoopProgram:
    """Put the loops of a perfect nest into the given order, outer first.

    >>> from codegen.schedule.examples import show, transpose
    >>> show(transpose(2, 3))
    for i in range(2):
        for j in range(3):
            c[i, j] = a[j, i]
    >>> show(reorder(transpose(2, 3), ["j", "i"]))
    for j in range(3):
        for i in range(2):
            c[i, j] = a[j, i]
    """
    require(len(set(names)) == len(names), f"loops are named twice in {list(names)}")
    extents = loop_extents(program.body)
    require(set(names) <= set(extents), f"there are no loops {sorted(set(names) - set(extents))}")
    first = next(name for name in extents if name in set(names))
    loops, _ = chain(find_loop(program, first))
    nest = loops[: len(names)]
    is_nest = {loop.variable for loop in nest} == set(names)
    require(is_nest, f"{list(names)} are not a perfect nest: {[loop.variable for loop in nest]}")
    by_name = {loop.variable: loop for loop in nest}
    guards = [guard for loop in nest for guard in loop.guards]
    ordered = [_with_guards(by_name[name], guards, names[i + 1 :]) for i, name in enumerate(names)]
    return replace_loop(program, first, lambda _: wrap(ordered, nest[-1].body))


def vectorize(program: LoopProgram, name: str) -> LoopProgram:
    """Run a loop in vector registers; any extent, no loop inside.

    >>> from codegen.schedule.examples import show, vector_add
    >>> show(vector_add(10))
    for i in range(10):
        c[i] = a[i] + b[i]
    >>> show(vectorize(vector_add(10), "i"))
    vector i in range(10):
        c[i] = a[i] + b[i]
    """
    loops = loop_extents(find_loop(program, name).body)
    require(not loops, f"only an innermost loop can be vectorized; {name!r} contains {list(loops)}")
    return _annotate(program, name, LoopKind.VECTORIZED)


def unroll(program: LoopProgram, name: str, factor: Int | None = None) -> LoopProgram:
    """Lay out all iterations of a loop, or with a factor that many at a time.

    >>> from codegen.schedule.examples import show, vector_add
    >>> show(vector_add(10))
    for i in range(10):
        c[i] = a[i] + b[i]
    >>> show(unroll(vector_add(10), "i"))
    unroll i in range(10):
        c[i] = a[i] + b[i]
    >>> show(unroll(vector_add(10), "i", 2))
    for i in range(10) unroll 2:
        c[i] = a[i] + b[i]
    """
    if factor is None:
        return _annotate(program, name, LoopKind.UNROLLED)
    require(_is_positive(factor), f"unroll factor of {name!r} must be positive, got {factor}")
    return replace_loop(program, name, lambda loop: (replace(loop, unroll=factor),))


def parallel(program: LoopProgram, name: str) -> LoopProgram:
    """Share the iterations of a loop among the threads.

    >>> from codegen.schedule.examples import show, vector_add
    >>> show(vector_add(10))
    for i in range(10):
        c[i] = a[i] + b[i]
    >>> show(parallel(vector_add(10), "i"))
    parallel i in range(10):
        c[i] = a[i] + b[i]
    """
    loop = find_loop(program, name)
    require(not loop.is_reduction, f"loop {name!r} is a reduction and cannot be parallel")
    return _annotate(program, name, LoopKind.PARALLEL)


def fetch(program: LoopProgram, name: str, buffer: str, distance: int, beside: str = "") -> LoopProgram:
    """Let a vectorized loop bring what lies ``distance`` elements after its reads of a buffer into the cache.

    With ``beside``, a buffer of the same shape, its accesses say where. Its loop need not read ``buffer``.

    >>> from codegen.schedule.examples import show, vector_add
    >>> show(fetch(vectorize(vector_add(10), "i"), "i", "a", 64))
    vector i in range(10) fetch a + 64:
        c[i] = a[i] + b[i]
    """
    shape = program.buffer(buffer).shape
    if beside:
        require(program.buffer(beside).shape == shape, f"{beside!r} has another shape than {buffer!r}")
    fetches = Fetch(buffer, distance, beside)
    return replace_loop(program, name, lambda loop: (replace(loop, fetches=fetches),))


def stream(program: LoopProgram) -> LoopProgram:
    """Write the output past the caches: worth it where it is larger than they are.

    A plain store first fetches the line that it fills, which for a copy is half as much traffic again.

    >>> from codegen.ir.text import loop_text
    >>> from codegen.schedule.examples import vector_add
    >>> print(loop_text(stream(vector_add(10))).splitlines()[3])
    output c[10]  # streamed
    """
    buffers = (replace(b, is_streamed=b.scope is Scope.OUTPUT) for b in program.buffers)
    return replace(program, buffers=tuple(buffers))


def _is_positive(factor: Int) -> bool:
    """Arrays and symbols are taken on trust: knob values are positive."""
    return not isinstance(factor, int) or factor >= 1


def _is_multiple(extent: Int, factor: Int) -> bool:
    """Whether the factor surely divides the extent, because the extent was made as a product with it."""
    if isinstance(extent, Symbol):
        parts = extent.operands if extent.operation == "mul" else ()
        return extent is factor or any(_is_multiple(part, factor) for part in parts)  # type: ignore[arg-type]
    return not isinstance(factor, Symbol) and not np.any(np.asarray(extent) % np.asarray(factor))


def _annotate(program: LoopProgram, name: str, kind: LoopKind) -> LoopProgram:
    return replace_loop(program, name, lambda loop: (replace(loop, kind=kind),))


def _with_guards(loop: Loop, guards: list[Guard], inner: Sequence[str]) -> Loop:
    """The guards that this loop decides: they use its variable and none of a loop further in."""
    mine = tuple(
        guard
        for guard in guards
        if loop.variable in guard.index.variables and not set(inner) & set(guard.index.variables)
    )
    return replace(loop, guards=mine)
