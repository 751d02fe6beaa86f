"""Threads share parallel nests and see each other's work behind them."""

from __future__ import annotations

import pytest

from codegen.ir.affine import variable as var
from codegen.ir.loops import Scope
from codegen.llvm.emit import emit_module
from codegen.llvm.runtime import has_openmp
from tests.codegen.llvm.loop_building import (
    assert_same_as_interpreted,
    at,
    below,
    binary,
    cpu_target,
    load,
    parallel,
    program,
    runnable_target,
    serial,
    store,
    vector,
)

needs_threads = pytest.mark.skipif(not has_openmp(), reason="no OpenMP runtime")


@needs_threads
@pytest.mark.parametrize("num_threads", [2, 3, 5])
@pytest.mark.parametrize(("rows", "columns"), [(1, 7), (3, 1), (5, 4)])
def test_nests_of_any_size(num_threads: int, rows: int, columns: int) -> None:
    loops = program(
        {"x": (Scope.INPUT, (rows, columns)), "y": (Scope.OUTPUT, (rows, columns))},
        parallel("i", rows, parallel("j", columns, store("y", at("i", "j"), load("x", "i", "j")))),
    )
    assert_same_as_interpreted(loops, runnable_target(8, num_threads))


@needs_threads
@pytest.mark.parametrize("num_threads", [2, 4])
def test_a_stage_reads_what_other_threads_wrote(num_threads: int) -> None:
    flipped = load("t", var("i") * -1 + 15, "v")
    loops = program(
        {
            "x": (Scope.INPUT, (16, 9)),
            "y": (Scope.OUTPUT, (16, 9)),
            "t": (Scope.GLOBAL, (16, 9)),
            "s": (Scope.GLOBAL, (1,)),
        },
        parallel("i", 16, vector("v", 9, store("t", at("i", "v"), load("x", "i", "v")))),
        store("s", at(0), load("t", 15, 8)),
        parallel("i", 16, vector("v", 9, store("y", at("i", "v"), binary("add", flipped, load("s", 0))))),
    )
    assert_same_as_interpreted(loops, runnable_target(8, num_threads))


def test_no_buffer_is_promised_to_be_written_by_one_thread_alone() -> None:
    loops = program(
        {"x": (Scope.INPUT, (16,)), "y": (Scope.OUTPUT, (16,)), "t": (Scope.GLOBAL, (16,))},
        parallel("i", 16, store("t", at("i"), load("x", "i"))),
        parallel("i", 16, store("y", at("i"), load("t", var("i") * -1 + 15))),
    )
    assert "noalias" not in emit_module(loops, cpu_target(8, 2)).text


def test_register_elements_do_not_outlive_a_parallel_iteration() -> None:
    loops = program(
        {"y": (Scope.OUTPUT, (16,)), "r": (Scope.REGISTER, (1,))},
        parallel("i", 16, store("r", at(0), 1.0), store("y", at("i"), load("r", 0))),
        parallel("j", 16, store("r", at(0), 2.0), store("y", at("j"), load("r", 0))),
    )
    assert "phi float" not in emit_module(loops, cpu_target(8, 2)).text


@needs_threads
def test_a_serial_loop_around_parallel_ones() -> None:
    swap = serial(
        "step",
        3,
        parallel("i", 8, vector("v", 5, store("t", at("i", "v"), load("y", var("i") * -1 + 7, "v")))),
        parallel(
            "i",
            8,
            vector(
                "v", 5, store("y", at("i", "v"), binary("add", load("t", "i", "v"), load("x", "i", "step")))
            ),
        ),
    )
    loops = program(
        {"x": (Scope.INPUT, (8, 5)), "y": (Scope.OUTPUT, (8, 5)), "t": (Scope.GLOBAL, (8, 5))},
        parallel("i", 8, vector("v", 5, store("y", at("i", "v"), load("x", "i", "v")))),
        swap,
    )
    assert_same_as_interpreted(loops, runnable_target(8, 3))


@needs_threads
def test_threads_have_workspaces_of_their_own() -> None:
    loops = program(
        {"x": (Scope.INPUT, (40, 6)), "y": (Scope.OUTPUT, (40, 6)), "t": (Scope.LOCAL, (6,))},
        parallel(
            "i",
            40,
            vector("v", 6, store("t", at("v"), load("x", "i", "v"))),
            vector("v", 6, store("y", at("i", "v"), load("t", var("v") * -1 + 5))),
        ),
    )
    assert_same_as_interpreted(loops, runnable_target(8, 4))


@needs_threads
def test_guards_of_parallel_loops() -> None:
    index = var("o") * 3 + var("i")
    loops = program(
        {"x": (Scope.INPUT, (10,)), "y": (Scope.OUTPUT, (10,))},
        parallel(
            "o", 4, parallel("i", 3, store("y", at(index), load("x", index)), guards=(below(index, 10),))
        ),
    )
    assert_same_as_interpreted(loops, runnable_target(8, 2))


@pytest.mark.parametrize(("num_threads", "extent"), [(1, 8), (4, 1)])
def test_work_for_one_thread_calls_no_runtime(num_threads: int, extent: int) -> None:
    loops = program(
        {"x": (Scope.INPUT, (8, 4)), "y": (Scope.OUTPUT, (8, 4))},
        parallel(
            "i",
            extent,
            serial("k", 8 // extent, vector("v", 4, store("y", at(var("i") + var("k"), "v"), 0.0))),
        ),
    )
    assert "GOMP" not in emit_module(loops, cpu_target(8, num_threads)).text
