"""Work on constant inputs ahead of time: prepare."""

from __future__ import annotations

from dataclasses import replace

from codegen.ir.expression import loads
from codegen.ir.loops import Buffer, LoopProgram, Scope, Store, walk_nodes
from codegen.schedule.errors import require
from codegen.schedule.rewrite import stores_to


def prepare(program: LoopProgram, buffer: str) -> LoopProgram:
    """Fill a workspace once per set of constant inputs instead of at each call.

    The nest that fills it becomes part of the prepack part. That what it reads is constant is the
    caller's to know.

    >>> from codegen.ir.text import loop_text
    >>> from codegen.schedule.examples import scaled_relu
    >>> print(loop_text(prepare(scaled_relu(4), "b")), end="")
    program scaled_relu
    input a[4]
    packed b[4]
    output c[4]
    prepack:
        for i in range(4):
            b[i] = a[i] * 2.0
    body:
        for c_i in range(4):
            c[c_i] = max(b[c_i], 0.0)
    """
    require(program.buffer(buffer).scope is Scope.GLOBAL, f"{buffer!r} is not a workspace")
    moved = tuple(node for node in program.body if stores_to((node,), buffer))
    stores = [node for node in walk_nodes(moved) if isinstance(node, Store)]
    read = {load.buffer for store in stores for load in loads(store.value)}
    others = sorted({store.buffer for store in stores} - {buffer})
    computed = sorted(name for name in read if program.buffer(name).scope is not Scope.INPUT)
    require(not others and not computed, f"{buffer!r} is filled beside {others} or from {computed}")
    buffers = tuple(Buffer(b.name, b.shape, Scope.PACKED) if b.name == buffer else b for b in program.buffers)
    body = tuple(node for node in program.body if node not in moved)
    return replace(program, buffers=buffers, body=body, prepack=(*program.prepack, *moved))
