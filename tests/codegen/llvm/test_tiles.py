"""Register tiles with tails on every axis compute what the interpreter computes."""

from __future__ import annotations

import numpy as np
import pytest

from codegen.ir.loops import Scope
from codegen.llvm.build import compile_program
from tests.codegen.llvm.loop_building import (
    assert_same_as_interpreted,
    at,
    binary,
    load,
    program,
    runnable_target,
    serial,
    store,
)
from tests.codegen.llvm.tiled_programs import convolution, tiled_matmul

LANES = (4, 8, 16)


@pytest.mark.parametrize("lanes", LANES)
def test_naive_matmul(lanes: int) -> None:
    product = binary("mul", load("a", "i", "k"), load("b", "k", "j"))
    loops = program(
        {"a": (Scope.INPUT, (5, 7)), "b": (Scope.INPUT, (7, 3)), "y": (Scope.OUTPUT, (5, 3))},
        serial(
            "i",
            5,
            serial(
                "j",
                3,
                store("y", at("i", "j"), 0.0),
                serial("k", 7, store("y", at("i", "j"), product, "sum")),
            ),
        ),
    )
    assert_same_as_interpreted(loops, runnable_target(lanes))


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize(
    ("m", "n", "k", "rows", "columns", "depth", "unroll"),
    [
        (8, 32, 6, 4, 32, 6, 1),
        (7, 19, 11, 4, 16, 4, 3),
        (5, 7, 3, 6, 14, 8, 2),
        (13, 30, 9, 3, 20, 9, 9),
        (4, 50, 10, 4, 24, 3, 4),
        (3, 5, 2, 1, 4, 2, 1),
    ],
)
def test_tiled_matmul(
    lanes: int, m: int, n: int, k: int, rows: int, columns: int, depth: int, unroll: int
) -> None:
    assert_same_as_interpreted(tiled_matmul(m, n, k, rows, columns, depth, unroll), runnable_target(lanes))


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("pixels", [3, 5, 8, 14])
def test_convolution_with_transposed_output(lanes: int, stride: int, pixels: int) -> None:
    loops = convolution(channels=2, filters=lanes + 3, size=11, pixels=pixels, lanes=lanes, stride=stride)
    assert_same_as_interpreted(loops, runnable_target(lanes))


@pytest.mark.parametrize("lanes", LANES)
def test_rounding_stays_within_that_of_a_plain_product(lanes: int) -> None:
    rng = np.random.default_rng(1)
    a = rng.standard_normal((33, 70), dtype=np.float32)
    b = rng.standard_normal((70, 45), dtype=np.float32)
    actual = compile_program(tiled_matmul(33, 45, 70, 6, 16, 32, 2), runnable_target(lanes))(a, b)
    np.testing.assert_allclose(actual, a.astype(np.float64) @ b, rtol=0, atol=70 * 2**-22)
