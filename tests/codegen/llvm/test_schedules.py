"""Schedules of real spaces, compiled for each vector width, compute the operator."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from codegen.llvm.build import compile_program
from codegen.ops import Conv2d, LayerNorm, Matmul, Operator, Softmax, small_integer_inputs, tolerance
from codegen.schedule import build_space
from tests.codegen.llvm.loop_building import runnable_target
from tests.strategies import operators, seeds

LANES = (4, 8, 16)
num_threads = st.sampled_from([1, 2])


def assert_a_schedule_compiles_to_its_operator(
    operator: Operator, lanes: int, num_threads: int, seed: int
) -> None:
    """A sampled candidate of the operator's space, and its float32 result beside the reference."""
    target = runnable_target(lanes, num_threads)
    space = build_space(operator.program(), target)
    rng = np.random.default_rng(seed)
    inputs = small_integer_inputs(operator, rng)  # so most sums are exact in any order
    views = {tensor.name: inputs[tensor.name].reshape(tensor.shape) for tensor in space.program.inputs}
    candidates = space.sample(1, rng)
    actual = compile_program(space.lower(candidates, 0), target)(**views)
    rtol, atol = tolerance(operator.program(), errors=space.errors(space.named(candidates, 0)))
    expected = operator.reference(inputs).reshape(actual.shape)
    # Integers are up to three times as large as the inputs that tolerances are made for.
    np.testing.assert_allclose(actual, expected, rtol=rtol, atol=10 * atol)


@pytest.mark.parametrize("lanes", LANES)
@settings(max_examples=30)
@given(operator=operators(wide=True), num_threads=num_threads, seed=seeds)
@example(Conv2d(height=9, width=20, in_channels=3, out_channels=3, groups=3, padding=1), 2, 1)
@example(Conv2d(height=4, width=9, in_channels=66, out_channels=9, kernel=1, residual=True), 1, 2)
@example(Matmul(m=17, k=65, n=37, bias=True), 2, 3)
@example(Matmul(m=5, k=7, n=21, batch=2, transpose_b=True), 1, 4)
@example(Softmax(rows=5, cols=150), 1, 5)
@example(LayerNorm(rows=3, cols=70), 2, 6)
def test_any_schedule_compiles_to_its_operator(
    lanes: int, operator: Operator, num_threads: int, seed: int
) -> None:
    assert_a_schedule_compiles_to_its_operator(operator, lanes, num_threads, seed)


@pytest.mark.slow
@pytest.mark.parametrize("lanes", LANES)
@settings(max_examples=1000, suppress_health_check=list(HealthCheck))
@given(operator=operators(wide=True), num_threads=num_threads, seed=seeds)
def test_very_many_schedules_compile_to_their_operators(
    lanes: int, operator: Operator, num_threads: int, seed: int
) -> None:
    assert_a_schedule_compiles_to_its_operator(operator, lanes, num_threads, seed)
