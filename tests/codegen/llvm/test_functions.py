"""Elementary functions keep their stated accuracy, at the ends of the range too."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import special

from codegen.ir.expression import Unary, UnaryOp
from codegen.ir.loops import Scope
from codegen.llvm.build import compile_program
from tests.codegen.llvm.loop_building import at, load, program, runnable_target, store, vector

LANES = (4, 8, 16)


def _apply(op: UnaryOp, x: NDArray[np.float32], lanes: int) -> NDArray[np.float32]:
    size = x.size
    loops = program(
        {"x": (Scope.INPUT, (size,)), "y": (Scope.OUTPUT, (size,))},
        vector("v", size, store("y", at("v"), Unary(op, load("x", "v")))),
    )
    result: NDArray[np.float32] = compile_program(loops, runnable_target(lanes))(x)
    return result


@pytest.mark.parametrize("lanes", LANES)
def test_exp_has_a_relative_error_below_two_ten_millionths(lanes: int) -> None:
    x = np.linspace(-87.3, 88.72, 200_003).astype(np.float32)
    expected = np.exp(x.astype(np.float64))
    assert np.max(np.abs(_apply("exp", x, lanes) / expected - 1)) < 2e-7


@pytest.mark.parametrize("lanes", LANES)
def test_exp_at_the_ends(lanes: int) -> None:
    x = np.array([-np.inf, -200, -104, -95, 0, 88.8, 1e30, np.inf, np.nan], np.float32)
    with np.errstate(over="ignore"):
        expected = np.exp(x.astype(np.float64)).astype(np.float32)
    np.testing.assert_allclose(_apply("exp", x, lanes), expected, rtol=2e-7, atol=2e-45)


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize(("op", "reference"), [("tanh", np.tanh), ("erf", special.erf)])
def test_tanh_and_erf_have_an_absolute_error_below_a_millionth(
    lanes: int, op: UnaryOp, reference: np.ufunc
) -> None:
    x = np.concatenate([np.linspace(-12, 12, 100_001), [-np.inf, np.inf, -1e30, 1e-30]]).astype(np.float32)
    assert np.max(np.abs(_apply(op, x, lanes) - reference(x.astype(np.float64)))) < 1e-6
    assert np.isnan(_apply(op, np.full(3, np.nan, np.float32), lanes)).all()


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize(
    ("op", "reference"),
    [("neg", np.negative), ("abs", np.abs), ("sqrt", np.sqrt), ("reciprocal", np.reciprocal)],
)
def test_exact_functions_are_exact(lanes: int, op: UnaryOp, reference: np.ufunc) -> None:
    x = np.random.default_rng(0).uniform(0.01, 9, 333).astype(np.float32)
    np.testing.assert_array_equal(_apply(op, x, lanes), reference(x))
