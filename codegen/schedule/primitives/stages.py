"""Primitives on whole statements and stages: fission, compute_at."""

from __future__ import annotations

from dataclasses import replace

from codegen.ir.expression import Expr, Load, loads
from codegen.ir.loops import Loop, LoopProgram, Node, Scope, Store, walk_nodes
from codegen.schedule.errors import require
from codegen.schedule.rewrite import (
    Nodes,
    chain,
    find_loop,
    map_expr,
    map_stores,
    rename,
    replace_loop,
    stores_to,
    substitute_expr,
    wrap,
)


def fission(program: LoopProgram, name: str, suffixes: tuple[str, ...]) -> LoopProgram:
    """Give each node inside a perfect nest a nest of its own; the copies' loops carry the suffixes.

    Legal because all nodes write the same element, which the nest's loops number one by one.

    >>> from codegen.schedule.examples import row_sum, show
    >>> show(row_sum(2, 3))
    for i in range(2):
        c[i] = 0.0
        for k in range(3):  # reduction
            c[i] += a[i, k]
    >>> show(fission(row_sum(2, 3), "i", ("_init", "")))
    for i_init in range(2):
        c[i_init] = 0.0
    for i in range(2):
        for k in range(3):  # reduction
            c[i] += a[i, k]
    """
    loops, inside = chain(find_loop(program, name))
    require(len(inside) == len(suffixes), f"{len(inside)} nodes inside {name!r} for suffixes {suffixes}")
    variables = {loop.variable for loop in loops}
    for node in walk_nodes(inside):
        if isinstance(node, Store):
            missing = variables - {v for index in node.index for v in index.variables}
            require(not missing, f"loops {sorted(missing)} do not number the elements of {node.buffer!r}")

    def divide(loop: Loop) -> Nodes:
        del loop
        return tuple(
            part for node, suffix in zip(inside, suffixes, strict=True) for part in _own(node, suffix)
        )

    def _own(node: Node, suffix: str) -> Nodes:
        nest = wrap(loops, (node,))
        return rename(nest, suffix)[0] if suffix else nest

    return replace_loop(program, name, divide)


def compute_at(program: LoopProgram, producer: str, consumer: str) -> LoopProgram:
    """Compute an elementwise consumer where its producer is written, and drop the producer's buffer.

    The last plain store to ``producer`` becomes the store to ``consumer``.

    >>> from codegen.schedule.examples import scaled_relu, show
    >>> show(scaled_relu(4))
    for i in range(4):
        b[i] = a[i] * 2.0
    for c_i in range(4):
        c[c_i] = max(b[c_i], 0.0)
    >>> show(compute_at(scaled_relu(4), "b", "c"))
    for i in range(4):
        c[i] = max(a[i] * 2.0, 0.0)
    """
    nest = next((n for n in program.body if isinstance(n, Loop) and stores_to((n,), consumer)), None)
    require(nest is not None, f"{consumer!r} is not computed by a nest of its own")
    assert nest is not None
    loops, inside = chain(nest)
    require(len(inside) == 1 and isinstance(inside[0], Store), f"{consumer!r} is not elementwise")
    store = inside[0]
    assert isinstance(store, Store)
    names = [loop.variable for loop in loops]
    is_identity = [i.variables for i in store.index] == [(name,) for name in names]
    same = all(load.index == store.index for load in loads(store.value) if load.buffer == producer)
    same = same and tuple(loop.extent for loop in loops) == program.buffer(producer).shape
    require(
        is_identity and same and store.reducer is None, f"{consumer!r} is not elementwise in {producer!r}"
    )
    rest = tuple(node for node in program.body if node is not nest)
    writers = stores_to(rest, producer)
    require(bool(writers) and writers[-1].reducer is None, f"{producer!r} is not finished by a plain store")
    place = max(n for n, node in enumerate(rest) if stores_to((node,), producer))
    later = {n.buffer for n in walk_nodes(rest[place:]) if isinstance(n, Store)} - {producer}
    late = sorted(later & {load.buffer for load in loads(store.value)})
    require(not late, f"{late} are not computed before {producer!r} is")

    def merge(write: Store) -> Nodes:
        if write is not writers[-1]:
            return (write,)
        value = substitute_expr(store.value, dict(zip(names, write.index, strict=True)))

        def inline(expr: Expr) -> Expr | None:
            return write.value if isinstance(expr, Load) and expr.buffer == producer else None

        return (Store(consumer, write.index, map_expr(value, inline)),)

    body = map_stores(rest, merge)
    require(not stores_to(body, producer), f"{producer!r} is also written before it is finished")
    others = [n for n in walk_nodes(body) if isinstance(n, Store)]
    is_read = any(load.buffer == producer for other in others for load in loads(other.value))
    require(not is_read, f"{producer!r} is read by more than {consumer!r}")
    buffers = tuple(b for b in program.buffers if b.name != producer or b.scope is not Scope.GLOBAL)
    return replace(program, body=body, buffers=buffers)
