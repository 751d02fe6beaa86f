"""Every kind of guard on every kind of loop keeps its meaning, and memory outside buffers is left alone."""

from __future__ import annotations

import numpy as np
import pytest

from codegen.ir.affine import variable as var
from codegen.ir.loops import LoopProgram, Scope
from codegen.llvm.build import compile_program
from tests.codegen.llvm.loop_building import (
    assert_same_as_interpreted,
    at,
    below,
    binary,
    load,
    parallel,
    program,
    runnable_target,
    serial,
    some_inputs,
    store,
    unrolled,
    vector,
)

LANES = (4, 8, 16)


def _copy(size: int, tile: int, kind: object, inner: object) -> LoopProgram:
    """``y = 2 x`` in tiles that do not divide the size, one loop of each given kind."""
    index = var("o") * tile + var("i")
    value = binary("add", load("x", index), load("x", index))
    tiles = -(-size // tile)
    body = kind("o", tiles, inner("i", tile, store("y", at(index), value), guards=(below(index, size),)))  # type: ignore[operator]
    return program({"x": (Scope.INPUT, (size,)), "y": (Scope.OUTPUT, (size,))}, body)


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("outer", [serial, parallel, unrolled], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("inner", [serial, unrolled, vector], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize(("size", "tile"), [(23, 5), (37, 16), (40, 33), (3, 8)])
def test_tails_of_tiles(lanes: int, outer: object, inner: object, size: int, tile: int) -> None:
    assert_same_as_interpreted(_copy(size, tile, outer, inner), runnable_target(lanes))


def test_nothing_outside_the_output_is_written() -> None:
    loops = _copy(23, 16, serial, vector)
    frame = np.full(64, 7, np.float32)
    out = frame[16:39]
    x = some_inputs(loops)["x"]
    compile_program(loops, runnable_target(8)).bind()(x, out=out)
    np.testing.assert_array_equal(out, 2 * x)
    assert (frame[:16] == 7).all()
    assert (frame[39:] == 7).all()


@pytest.mark.parametrize("lanes", LANES)
def test_a_guard_with_a_coefficient_shortens_a_serial_loop(lanes: int) -> None:
    # Three variables share the guard; with o = 3 the loop over i does not run at all.
    index = var("o") * 9 + var("i") * 2 + var("u")
    body = serial(
        "o",
        4,
        serial(
            "i",
            5,
            unrolled(
                "u", 2, store("y", at("o", "i", "u"), load("x", index), "sum"), guards=(below(index, 24),)
            ),
            guards=(below(var("o") * 9 + var("i") * 2, 24),),
            unroll=2,
        ),
    )
    zero = serial("o", 4, serial("i", 5, serial("u", 2, store("y", at("o", "i", "u"), 0.0))))
    loops = program({"x": (Scope.INPUT, (24,)), "y": (Scope.OUTPUT, (4, 5, 2))}, zero, body)
    assert_same_as_interpreted(loops, runnable_target(lanes))


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("unroll", [1, 2, 3, 7])
def test_unrolled_serial_loops_with_dynamic_bounds_carry_registers(lanes: int, unroll: int) -> None:
    step = var("ko") * 7 + var("k")
    update = serial(
        "k",
        7,
        vector("v", 6, store("acc", at("v"), binary("mul", load("x", step, "v"), load("x", step, 0)), "sum")),
        guards=(below(step, 25),),
        unroll=unroll,
    )
    loops = program(
        {"x": (Scope.INPUT, (25, 6)), "y": (Scope.OUTPUT, (6,)), "acc": (Scope.REGISTER, (6,))},
        vector("v", 6, store("acc", at("v"), 1.0)),
        serial("ko", 4, update),
        vector("v", 6, store("y", at("v"), load("acc", "v"))),
    )
    assert_same_as_interpreted(loops, runnable_target(lanes))


@pytest.mark.parametrize("lanes", LANES)
def test_a_guarded_accumulation_that_is_observed_keeps_skipped_elements(lanes: int) -> None:
    # The write-back has no guard, so elements of skipped rows and lanes must stay as they were.
    row, column = var("o") * 4 + var("r"), var("o") * 6 + var("v")
    add = unrolled(
        "r",
        4,
        vector(
            "v", 6, store("acc", at("r", "v"), load("x", row, column), "sum"), guards=(below(column, 16),)
        ),
        guards=(below(row, 10),),
    )
    loops = program(
        {"x": (Scope.INPUT, (10, 16)), "y": (Scope.OUTPUT, (3, 4, 6)), "acc": (Scope.REGISTER, (4, 6))},
        serial(
            "o",
            3,
            unrolled("r", 4, vector("v", 6, store("acc", at("r", "v"), 5.0))),
            add,
            unrolled("r", 4, vector("v", 6, store("y", at("o", "r", "v"), load("acc", "r", "v")))),
        ),
    )
    assert_same_as_interpreted(loops, runnable_target(lanes))


@pytest.mark.parametrize("lanes", LANES)
def test_a_guarded_reduction_over_unrolled_and_vector_loops(lanes: int) -> None:
    index = var("o") * 12 + var("u") * 6 + var("v")
    inside = below(index, 31)
    loops = program(
        {
            "x": (Scope.INPUT, (31,)),
            "y": (Scope.OUTPUT, (3, 2)),
            "s": (Scope.REGISTER, (2,)),
        },
        serial(
            "o",
            3,
            unrolled("q", 2, store("s", at("q"), 0.0)),
            unrolled(
                "u",
                2,
                vector("v", 6, store("s", at(0), load("x", index), "sum"), guards=(inside,)),
                guards=(below(var("o") * 12 + var("u") * 6, 31),),
            ),
            unrolled(
                "u",
                12,
                store("s", at(1), load("x", var("o") * 12 + var("u")), "max"),
                guards=(below(var("o") * 12 + var("u"), 31),),
            ),
            unrolled("q", 2, store("y", at("o", "q"), load("s", "q"))),
        ),
    )
    assert_same_as_interpreted(loops, runnable_target(lanes))


@pytest.mark.parametrize("lanes", LANES)
def test_a_reduction_into_memory_leaves_unreached_elements_alone(lanes: int) -> None:
    row = var("o") * 4 + var("r")
    add = unrolled(
        "r",
        4,
        vector("v", 9, store("y", at(row), load("x", row, "v"), "sum")),
        guards=(below(row, 6),),
    )
    loops = program(
        {"x": (Scope.INPUT, (6, 9)), "y": (Scope.OUTPUT, (6,))},
        serial("i", 6, store("y", at("i"), 1.0)),
        serial("o", 2, add),
    )
    assert_same_as_interpreted(loops, runnable_target(lanes))


@pytest.mark.parametrize("lanes", LANES)
def test_a_guard_that_falls_with_its_variable(lanes: int) -> None:
    # Iterations are skipped at the start, not at the end.
    index = var("i") * -1 + 6
    body = serial("i", 9, store("y", at("i"), load("x", "i")), guards=(below(index, 4),))
    zero = serial("i", 9, store("y", at("i"), 0.0))
    loops = program({"x": (Scope.INPUT, (9,)), "y": (Scope.OUTPUT, (9,))}, zero, body)
    assert_same_as_interpreted(loops, runnable_target(lanes))


@pytest.mark.parametrize("lanes", LANES)
def test_a_lane_guard_inside_a_loop_inside_a_vector_loop(lanes: int) -> None:
    index = var("k") * 2 + var("v")
    loops = program(
        {"x": (Scope.INPUT, (16,)), "y": (Scope.OUTPUT, (10,)), "acc": (Scope.REGISTER, (10,))},
        vector(
            "v",
            10,
            store("acc", at("v"), 0.0),
            serial("k", 5, store("acc", at("v"), load("x", index), "sum"), guards=(below(index, 16),)),
            store("y", at("v"), load("acc", "v")),
        ),
    )
    assert_same_as_interpreted(loops, runnable_target(lanes))
