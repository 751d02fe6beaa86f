"""Elementary functions keep their stated accuracy, at the ends of the range too."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import special

from codegen.ir.expression import Binary, Constant, Expr, Unary, UnaryOp
from codegen.ir.loops import Scope
from codegen.llvm.build import compile_program
from codegen.llvm.emit import emit_module
from codegen.llvm.functions import EXP_COEFFICIENTS, TANH_ODD
from codegen.llvm.writer import float_literal
from codegen.ops.elementwise import UNARY_OPS
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


X = load("x", "v")


def _over(expr: Expr, x: NDArray[np.float32], lanes: int) -> tuple[NDArray[np.float32], str]:
    size = x.size
    loops = program(
        {"x": (Scope.INPUT, (size,)), "y": (Scope.OUTPUT, (size,))},
        vector("v", size, store("y", at("v"), expr)),
    )
    target = runnable_target(lanes)
    return compile_program(loops, target)(x), emit_module(loops, target).text


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize(
    ("expr", "reference"),
    [
        (UNARY_OPS["sigmoid"][0](X), special.expit),
        (UNARY_OPS["silu"][0](X), lambda x: x * special.expit(x)),
        (Binary("add", Unary("tanh", X), Constant(1.0)), lambda x: 2 * special.expit(2 * x)),
        (Binary("add", Constant(1.0), Unary("tanh", X)), lambda x: 2 * special.expit(2 * x)),
        (UNARY_OPS["gelu_tanh"][0](X), UNARY_OPS["gelu_tanh"][1]),
        (Unary("reciprocal", Binary("add", Unary("exp", Constant(0.5)), Constant(1.0))), None),
        (Binary("mul", UNARY_OPS["sigmoid"][0](Constant(0.5)), X), lambda x: x * special.expit(0.5)),
    ],
)
def test_sigmoids_take_one_power_of_two(
    lanes: int, expr: Expr, reference: Callable[[NDArray[np.float64]], NDArray[np.float64]] | None
) -> None:
    x = np.linspace(-16, 16, 100_001).astype(np.float32)
    actual, text = _over(expr, x, lanes)
    expected = np.full(x.size, special.expit(-0.5)) if reference is None else reference(x.astype(np.float64))
    np.testing.assert_allclose(actual, expected, rtol=3e-6, atol=1e-7)
    assert "fptosi" in text or "scalef" in text
    assert float_literal(EXP_COEFFICIENTS[0]) not in text
    assert float_literal(TANH_ODD[-1]) not in text


@pytest.mark.parametrize("lanes", LANES)
def test_sigmoids_at_the_ends(lanes: int) -> None:
    x = np.array([-np.inf, -1e30, -200, -100, 0, 100, 1e30, np.inf, np.nan], np.float32)
    expected = np.array([0, 0, 0, 0, 0.5, 1, 1, 1, np.nan])
    np.testing.assert_allclose(_over(UNARY_OPS["sigmoid"][0](X), x, lanes)[0], expected, atol=2e-38)
    np.testing.assert_allclose(
        _over(UNARY_OPS["gelu_tanh"][0](X), x[1:], lanes)[0],
        [0, 0, 0, 0, 100, 1e30, np.inf, np.nan],
        rtol=1e-6,
        atol=1e-35,
    )


def test_an_exponential_of_its_own_stays_one() -> None:
    text = _over(Binary("add", Unary("exp", X), Constant(2.0)), np.zeros(9, np.float32), 8)[1]
    assert float_literal(EXP_COEFFICIENTS[0]) in text


@pytest.mark.parametrize("lanes", LANES)
def test_the_exponential_of_a_difference_is_as_exact_as_the_difference(lanes: int) -> None:
    x = np.linspace(-87, 88, 100_001).astype(np.float32)
    actual, text = _over(Unary("exp", Binary("sub", X, Constant(0.25))), x, lanes)
    difference = (x - np.float32(0.25)).astype(np.float64)
    expected = np.exp(difference)
    assert np.all(np.abs(actual / expected - 1) < 2e-7 + 2.0**-23 * np.abs(difference))
    assert float_literal(EXP_COEFFICIENTS[0]) not in text
    ends = np.array([-np.inf, -200, 0.25, 200, np.inf, np.nan], np.float32)
    actual = _over(Unary("exp", Binary("sub", X, Constant(0.25))), ends, lanes)[0]
    np.testing.assert_allclose(actual, [0, 0, 1, np.inf, np.inf, np.nan], rtol=2e-7)
