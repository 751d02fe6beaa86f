"""Schedules of real spaces, compiled for each vector width, compute the operator."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codegen.ir.interpret import interpret_program
from codegen.llvm.build import compile_program
from codegen.ops import make_operator, small_integer_inputs
from codegen.schedule import build_space
from tests.codegen.llvm.loop_building import runnable_target

OPERATORS: list[tuple[str, dict[str, object]]] = [
    ("conv2d", {"height": 13, "width": 11, "in_channels": 5, "out_channels": 19, "padding": 1, "bias": True}),
    ("conv2d", {"height": 9, "width": 17, "in_channels": 4, "out_channels": 6, "stride": 2, "relu": True}),
    (
        "conv2d",
        {"height": 4, "width": 9, "in_channels": 66, "out_channels": 9, "kernel": 1, "residual": True},
    ),
    ("conv2d", {"height": 9, "width": 20, "in_channels": 3, "out_channels": 3, "groups": 3, "padding": 1}),
    ("matmul", {"m": 17, "k": 65, "n": 37, "bias": True}),
    ("matmul", {"m": 5, "k": 7, "n": 21, "batch": 2, "transpose_a": True}),
    (
        "pool2d",
        {"kind": "max", "height": 7, "width": 18, "channels": 3, "kernel": 3, "stride": 2, "padding": 1},
    ),
    ("softmax", {"rows": 5, "cols": 150}),
    ("layer_norm", {"rows": 3, "cols": 70}),
    ("transpose", {"rows": 19, "cols": 21}),
]


@pytest.mark.parametrize("lanes", [4, 8, 16])
@pytest.mark.parametrize(("name", "parameters"), OPERATORS)
@settings(max_examples=4)
@given(seed=st.integers(0, 2**32 - 1), num_threads=st.sampled_from([1, 2]))
def test_any_schedule_compiles_to_its_operator(
    lanes: int, name: str, parameters: dict[str, object], seed: int, num_threads: int
) -> None:
    operator = make_operator(name, parameters)
    target = runnable_target(lanes, num_threads)
    space = build_space(operator.program(), target)
    rng = np.random.default_rng(seed)
    arrays = small_integer_inputs(operator, rng)
    inputs = {t.name: arrays[t.name].reshape(t.shape).astype(np.float32) for t in space.program.inputs}
    loops = space.lower(space.sample(1, rng), 0)
    actual = compile_program(loops, target)(**inputs)
    np.testing.assert_allclose(actual, interpret_program(space.program, inputs), rtol=1e-5, atol=1e-5)
