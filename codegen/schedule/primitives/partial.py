"""A reduction in two passes: partial_reduction."""

from __future__ import annotations

from dataclasses import replace

from codegen.ir.affine import variable
from codegen.ir.expression import IDENTITY, Constant, Load
from codegen.ir.loops import Buffer, Loop, LoopProgram, Scope, Store
from codegen.schedule.errors import require
from codegen.schedule.rewrite import Nodes, chain, find_loop, rename, wrap


def partial_reduction(program: LoopProgram, name: str, partial: str) -> LoopProgram:
    """Reduce each iteration of a reduction loop into a result of its own, and those in a second nest.

    The loop must be the outermost reduction of a nest that starts as its definition does. It comes
    outermost, where its iterations may run in parallel. Loops of the second nest carry the suffix
    ``_sum``. Called split-K for matrix products.

    >>> from codegen.schedule.examples import row_sum, show
    >>> from codegen.schedule.primitives.loops import split
    >>> show(partial_reduction(split(row_sum(2, 8), "k", 4, ("k0", "k1")), "k0", "part"))
    for k0 in range(2):
        for i in range(2):
            part[k0, i] = 0.0
            for k1 in range(4):  # reduction
                part[k0, i] += a[i, k0*4 + k1]
    for i_sum in range(2):
        c[i_sum] = 0.0
        for k0_sum in range(2):  # reduction
            c[i_sum] += part[k0_sum, i_sum]
    """
    split = find_loop(program, name)
    nest = next((n for n in program.body if isinstance(n, Loop) and split in chain(n)[1]), None)
    require(nest is not None and split.is_reduction, f"{name!r} is not the outermost reduction of a nest")
    assert nest is not None
    loops, inside = chain(nest)
    start = inside[0]
    is_definition = len(inside) == 2 and isinstance(start, Store) and start.reducer is None
    require(is_definition and not split.guards, f"the nest around {name!r} is not as it was defined")
    assert isinstance(start, Store)
    inner, body = chain(split)
    update = body[0]
    require(len(body) == 1 and isinstance(update, Store), f"{name!r} does not hold one reduction")
    assert isinstance(update, Store)
    assert update.reducer is not None
    shape = (split.extent, *program.buffer(start.buffer).shape)

    def redirect(store: Store) -> Store:
        return replace(store, buffer=partial, index=(variable(name), *store.index))

    own = Loop(name, split.extent, ())
    pass_one = wrap([own, *loops], (redirect(start), *wrap(inner[1:], (redirect(update),))))
    total = Store(start.buffer, start.index, Load(partial, (variable(name), *start.index)), update.reducer)
    identity = Store(start.buffer, start.index, Constant(IDENTITY[update.reducer]))
    sums: Nodes = wrap(loops, (identity, replace(own, body=(total,), is_reduction=True)))
    pass_two, _ = rename(sums, "_sum")
    changed = tuple(
        part for node in program.body for part in ((*pass_one, *pass_two) if node is nest else (node,))
    )
    buffers = (*program.buffers, Buffer(partial, shape, Scope.GLOBAL))
    return replace(program, body=changed, buffers=buffers)
