"""Statements of every shape: strides, conditions, reductions over lanes, register buffers across loops."""

from __future__ import annotations

import numpy as np
import pytest

from codegen.ir.affine import variable as var
from codegen.ir.expression import Constant, Expr, InRange, Select, Unary
from codegen.ir.loops import If, LoopProgram, Node, Scope
from codegen.llvm.build import compile_program
from tests.codegen.llvm.loop_building import (
    assert_same_as_interpreted,
    at,
    below,
    binary,
    load,
    padded,
    parallel,
    program,
    runnable_target,
    serial,
    store,
    unrolled,
    vector,
)

LANES = (4, 8, 16)
IO = {"x": (Scope.INPUT, (6, 40)), "y": (Scope.OUTPUT, (6, 40))}


def _zeroed(*body: Node, **registers: tuple[int, ...]) -> LoopProgram:
    """A program from x to y, both 6 x 40, that starts with y = 0."""
    zero = serial("i", 6, vector("j", 40, store("y", at("i", "j"), 0.0)))
    buffers = {**IO, **{name: (Scope.REGISTER, shape) for name, shape in registers.items()}}
    return program(buffers, zero, *body)


STRIDED = {
    "every second element": vector("v", 19, store("y", at(0, "v"), load("x", 1, var("v") * 2))),
    "every third element": vector("v", 13, store("y", at(0, "v"), load("x", 1, var("v") * 3 + 1))),
    "backwards": vector("v", 21, store("y", at(0, "v"), load("x", 1, var("v") * -1 + 30))),
    "along a column": vector("v", 6, store("y", at(0, "v"), load("x", "v", 7))),
    "into a column": vector("v", 6, store("y", at("v", 5), load("x", 2, "v"))),
    "into a strided row": vector("v", 9, store("y", at(3, var("v") * 4), load("x", 2, "v"))),
    "diagonal": vector("v", 6, store("y", at("v", "v"), load("x", "v", "v"), "sum")),
    "one element for all lanes": vector("v", 37, store("y", at(2, "v"), load("x", 3, 4))),
    "long": serial("i", 6, vector("v", 39, store("y", at("i", "v"), load("x", "i", var("v") + 1)))),
}


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("name", STRIDED)
def test_accesses_of_any_stride(lanes: int, name: str) -> None:
    assert_same_as_interpreted(_zeroed(STRIDED[name]), runnable_target(lanes))


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("extent", [1, 2, 3, 7, 16, 130, 150, 517])
def test_vector_loops_of_any_extent(lanes: int, extent: int) -> None:
    value = binary("max", load("x", "v"), Constant(1.5))
    loops = program(
        {"x": (Scope.INPUT, (extent,)), "y": (Scope.OUTPUT, (extent,))},
        vector("v", extent, store("y", at("v"), value)),
    )
    assert_same_as_interpreted(loops, runnable_target(lanes))


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("extent", [5, 24, 150, 517])
@pytest.mark.parametrize("reducer", ["sum", "max"])
@pytest.mark.parametrize("scope", [Scope.REGISTER, Scope.LOCAL])
def test_reductions_over_lanes(lanes: int, extent: int, reducer: object, scope: Scope) -> None:
    start = 0.0 if reducer == "sum" else -np.inf
    loops = program(
        {"x": (Scope.INPUT, (3, extent)), "y": (Scope.OUTPUT, (3,)), "r": (scope, (1,))},
        serial(
            "i",
            3,
            store("r", at(0), start),
            vector("v", extent, store("r", at(0), load("x", "i", "v"), reducer)),  # type: ignore[arg-type]
            store("y", at("i"), load("r", 0)),
        ),
    )
    assert_same_as_interpreted(loops, runnable_target(lanes))


def _softmax(rows: int, columns: int) -> LoopProgram:
    shifted = Unary("exp", binary("sub", load("x", "i", "v"), load("m", 0)))
    return program(
        {
            "x": (Scope.INPUT, (rows, columns)),
            "y": (Scope.OUTPUT, (rows, columns)),
            "m": (Scope.REGISTER, (1,)),
            "s": (Scope.REGISTER, (1,)),
        },
        parallel(
            "i",
            rows,
            store("m", at(0), -np.inf),
            vector("v", columns, store("m", at(0), load("x", "i", "v"), "max")),
            store("s", at(0), 0.0),
            vector("v", columns, store("y", at("i", "v"), shifted)),
            vector("v", columns, store("s", at(0), load("y", "i", "v"), "sum")),
            vector("v", columns, store("y", at("i", "v"), binary("div", load("y", "i", "v"), load("s", 0)))),
        ),
    )


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("columns", [3, 50, 333])
@pytest.mark.parametrize("num_threads", [1, 2])
def test_softmax(lanes: int, columns: int, num_threads: int) -> None:
    target = runnable_target(lanes, num_threads)
    assert_same_as_interpreted(_softmax(5, columns), target, tolerance=1e-6)


CHOICES: dict[str, Expr] = {
    "padding": padded(var("i") + -2, 3, load("x", var("i") + -2, "v")),
    "padding along the lanes": padded(var("v") + -3, 30, load("x", "i", var("v") + -3)),
    "padding with strided lanes": padded(var("v") * 2 + -3, 35, load("x", "i", var("v") * 2 + -3)),
    "padding with another number": padded(var("v") + -3, 30, load("x", "i", var("v") + -3), -2.0),
    "padding of a shared element": padded(var("v") + -3, 30, load("x", "i", 3)),
    "two sides": Select((InRange(var("i"), 2, 4),), load("x", var("i") + -2, "v"), load("x", 0, "i")),
    "two conditions": Select(
        (InRange(var("i"), 1, 5), InRange(var("v"), 4, 20)),
        binary("mul", load("x", var("i") + -1, var("v") + -4), Constant(3.0)),
        load("x", "i", "v"),
    ),
    "never": Select((InRange(var("i"), 7, 9),), load("x", var("i") * 9, "v"), Constant(1.0)),
}


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("name", CHOICES)
@pytest.mark.parametrize("outer", [serial, unrolled], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("inner", [serial, vector], ids=lambda kind: kind.__name__)
def test_selects(lanes: int, name: str, outer: object, inner: object) -> None:
    body = outer("i", 6, inner("v", 40, store("y", at("i", "v"), CHOICES[name])))  # type: ignore[operator]
    assert_same_as_interpreted(_zeroed(body), runnable_target(lanes))


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("outer", [serial, unrolled], ids=lambda kind: kind.__name__)
def test_ifs_merge_register_elements(lanes: int, outer: object) -> None:
    choose = If(
        (InRange(var("i"), 1, 4),),
        (vector("v", 11, store("t", at("v"), load("x", "i", "v"))),),
        (vector("v", 11, store("t", at("v"), 9.0)), store("u", at(0), 2.0)),
    )
    only = If((InRange(var("i"), 2, 3),), (store("u", at(0), load("x", "i", 0), "sum"),))
    out = vector("v", 11, store("y", at("i", "v"), binary("add", load("t", "v"), load("u", 0))))
    body = outer("i", 6, choose, only, out)  # type: ignore[operator]
    loops = _zeroed(store("u", at(0), 1.0), body, t=(11,), u=(1,))
    assert_same_as_interpreted(loops, runnable_target(lanes))


@pytest.mark.parametrize("lanes", LANES)
def test_ifs_that_depend_on_the_lane(lanes: int) -> None:
    choose = If(
        (InRange(var("v"), 3, 17),),
        (store("t", at("v"), load("x", 0, var("v") + -3)), store("y", at(1, "v"), 1.0)),
        (store("t", at("v"), 9.0),),
    )
    body = vector("v", 22, choose, store("y", at(0, "v"), load("t", "v")))
    assert_same_as_interpreted(_zeroed(body, t=(22,)), runnable_target(lanes))


REGISTERS = {
    "written by rows, read by columns": (
        unrolled("r", 5, vector("v", 14, store("t", at("r", "v"), load("x", "r", "v")))),
        unrolled(
            "v", 14, vector("r", 5, store("y", at(0, var("v") * 2 + var("r")), load("t", "r", "v"), "sum"))
        ),
    ),
    "written by scalars, read by lanes": (
        unrolled("r", 5, unrolled("v", 14, store("t", at("r", "v"), load("x", "r", "v")))),
        unrolled("r", 5, vector("v", 14, store("y", at("r", "v"), load("t", "r", "v")))),
    ),
    "read and changed by element": (
        unrolled("r", 5, vector("v", 14, store("t", at("r", "v"), load("x", "r", "v")))),
        unrolled("r", 5, store("t", at("r", 3), 2.0, "sum")),
        unrolled("r", 5, unrolled("v", 14, store("y", at("r", "v"), load("t", "r", "v")))),
    ),
    "in two halves, read whole": (
        unrolled(
            "r",
            5,
            unrolled(
                "h", 2, vector("v", 7, store("t", at("r", var("h") * 7 + var("v")), load("x", "r", "v")))
            ),
        ),
        unrolled("r", 5, vector("v", 14, store("y", at("r", "v"), load("t", "r", "v")))),
    ),
    "along both dimensions at once": (
        unrolled("r", 5, vector("v", 14, store("t", at("r", "v"), load("x", "r", "v")))),
        vector("d", 5, store("y", at(0, "d"), load("t", "d", "d"))),
    ),
    "a vector loop inside another": (
        vector("r", 5, vector("v", 14, store("t", at("r", "v"), load("x", "r", "v")))),
        vector("r", 5, vector("v", 14, store("y", at("r", "v"), load("t", "r", "v")))),
    ),
    "a part of the lanes": (
        unrolled("r", 5, vector("v", 14, store("t", at("r", "v"), load("x", "r", "v")))),
        unrolled("r", 5, vector("v", 13, store("t", at("r", "v"), 1.0, "sum"))),
        unrolled("r", 5, vector("v", 14, store("y", at("r", "v"), load("t", "r", "v")))),
    ),
    "the last lane decides": (
        unrolled("r", 5, vector("v", 14, store("t", at("r", 0), load("x", "r", "v")))),
        unrolled("r", 5, store("y", at("r", 0), load("t", "r", 0))),
    ),
}


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("name", REGISTERS)
def test_register_buffers_in_any_direction(lanes: int, name: str) -> None:
    assert_same_as_interpreted(_zeroed(*REGISTERS[name], t=(5, 14)), runnable_target(lanes))


@pytest.mark.parametrize("rows", [1, 4, 7, 8, 13, 16])
@pytest.mark.parametrize("columns", [4, 6, 8, 12, 16, 30])
@pytest.mark.parametrize("lanes", LANES)
def test_transposing_in_registers(lanes: int, rows: int, columns: int) -> None:
    loops = program(
        {
            "x": (Scope.INPUT, (rows, columns)),
            "y": (Scope.OUTPUT, (columns, rows)),
            "t": (Scope.REGISTER, (rows, columns)),
        },
        unrolled("r", rows, vector("v", columns, store("t", at("r", "v"), load("x", "r", "v")))),
        unrolled("v", columns, vector("r", rows, store("y", at("v", "r"), load("t", "r", "v")))),
    )
    assert_same_as_interpreted(loops, runnable_target(lanes))


@pytest.mark.parametrize("lanes", LANES)
def test_nan_passes_through_maxima(lanes: int) -> None:
    x = np.arange(20, dtype=np.float32)
    x[7] = np.nan
    loops = program(
        {"x": (Scope.INPUT, (20,)), "y": (Scope.OUTPUT, (21,)), "m": (Scope.REGISTER, (1,))},
        store("m", at(0), 0.0),
        vector("v", 20, store("m", at(0), load("x", "v"), "max")),
        vector("v", 20, store("y", at("v"), binary("max", load("x", "v"), Constant(0.0)))),
        store("y", at(20), load("m", 0)),
    )
    y = compile_program(loops, runnable_target(lanes))(x)
    assert np.isnan(y[7])
    assert np.isnan(y[20])
    np.testing.assert_array_equal(y[8:20], x[8:])


def test_guards_of_a_loop_over_long_vectors() -> None:
    index = var("o") * 200 + var("v")
    body = serial(
        "o", 3, vector("v", 200, store("y", at(index), load("x", index)), guards=(below(index, 555),))
    )
    loops = program({"x": (Scope.INPUT, (555,)), "y": (Scope.OUTPUT, (555,))}, body)
    assert_same_as_interpreted(loops, runnable_target(8))
