"""Register-tiled kernels written by hand, as the lowering makes them."""

from __future__ import annotations

from codegen.ir.affine import variable as var
from codegen.ir.arithmetic import ceil_div
from codegen.ir.expression import InRange
from codegen.ir.loops import If, Loop, LoopProgram, Scope, Store
from tests.codegen.llvm.loop_building import (
    at,
    below,
    binary,
    load,
    padded,
    parallel,
    program,
    serial,
    store,
    unrolled,
    vector,
)


def tiled_matmul(m: int, n: int, k: int, rows: int, columns: int, depth: int, unroll: int = 1) -> LoopProgram:
    """``a @ b`` with b packed in panels, a register tile of rows x columns, and k in pieces of ``depth``."""
    num_panels, num_pieces = int(ceil_div(n, columns)), int(ceil_div(k, depth))  # type: ignore[arg-type]
    row, column = var("io") * rows + var("i"), var("jo") * columns + var("j")
    step = var("ko") * depth + var("k")
    element = at("i", "j")

    def tile(statement: Store, is_guarded: bool = True) -> Loop:
        guards = (below(row, m),), (below(column, n),)
        inner = vector("j", columns, statement, guards=guards[1] if is_guarded else ())
        return unrolled("i", rows, inner, guards=guards[0] if is_guarded else ())

    start = If(
        (InRange(var("ko"), 0, 1),),
        (tile(store("acc", element, 0.0), is_guarded=False),),
        (tile(store("acc", element, load("y", row, column))),),
    )
    product = binary("mul", load("a", row, step), load("packed", "jo", step, "j"))
    update = serial(
        "k", depth, tile(store("acc", element, product, "sum")), guards=(below(step, k),), unroll=unroll
    )
    finish = tile(store("y", at(row, column), load("acc", "i", "j")))
    num_rows = -(-m // rows)
    body = serial(
        "ko", num_pieces, parallel("jo", num_panels, parallel("io", num_rows, start, update, finish))
    )
    pack = vector(
        "j",
        columns,
        store("packed", at("jo", "k", "j"), load("b", "k", column)),
        guards=(below(column, n),),
    )
    return program(
        {
            "a": (Scope.INPUT, (m, k)),
            "b": (Scope.INPUT, (k, n)),
            "y": (Scope.OUTPUT, (m, n)),
            "packed": (Scope.PACKED, (num_panels, k, columns)),
            "acc": (Scope.REGISTER, (rows, columns)),
        },
        body,
        prepack=(parallel("jo", num_panels, serial("k", k, pack)),),
    )


def convolution(
    channels: int, filters: int, size: int, pixels: int, lanes: int, stride: int = 1
) -> LoopProgram:
    """3 x 3 with padding 1, NCHW; accumulators are vectors along the filters, so the output is transposed."""
    width = (size - 1) // stride + 1
    column, filter_ = var("xo") * pixels + var("p"), var("fo") * lanes + var("f")
    in_row, in_column = var("h") * stride + var("kh") + -1, column * stride + var("kw") + -1
    is_inside = below(column, width)
    source = padded(in_row, size, padded(in_column, size, load("x", "c", in_row, in_column)))
    product = binary("mul", source, load("packed", "fo", "c", "kh", "kw", "f"))
    zero = unrolled("p", pixels, vector("f", lanes, store("acc", at("p", "f"), 0.0)), guards=(is_inside,))
    update = unrolled(
        "p", pixels, vector("f", lanes, store("acc", at("p", "f"), product, "sum")), guards=(is_inside,)
    )
    out = store("y", at(filter_, "h", column), load("acc", "p", "f"))
    finish = unrolled(
        "f", lanes, vector("p", pixels, out, guards=(is_inside,)), guards=(below(filter_, filters),)
    )
    reduction = serial("c", channels, serial("kh", 3, serial("kw", 3, update)))
    weights = padded(filter_, filters, load("w", filter_, "c", "kh", "kw"))
    pack = vector("f", lanes, store("packed", at("fo", "c", "kh", "kw", "f"), weights))
    num_blocks = -(-filters // lanes)
    return program(
        {
            "x": (Scope.INPUT, (channels, size, size)),
            "w": (Scope.INPUT, (filters, channels, 3, 3)),
            "y": (Scope.OUTPUT, (filters, width, width)),
            "packed": (Scope.PACKED, (num_blocks, channels, 3, 3, lanes)),
            "acc": (Scope.REGISTER, (pixels, lanes)),
        },
        parallel(
            "fo", num_blocks, parallel("h", width, serial("xo", -(-width // pixels), zero, reduction, finish))
        ),
        prepack=(serial("fo", num_blocks, serial("c", channels, serial("kh", 3, serial("kw", 3, pack)))),),
    )
