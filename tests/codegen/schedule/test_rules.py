"""Every operator has schedules, also where its result has one pixel, one channel or no pixel axis to tile."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from codegen.llvm.build import compile_program
from codegen.ops import WORKLOADS, Conv2d, Matmul, Operator, Pool2d, small_integer_inputs
from codegen.schedule import build_space
from codegen.target import Target
from tests.codegen.llvm.loop_building import runnable_target

CORNERS = {
    "NHWC depthwise": Conv2d(
        height=7, width=6, in_channels=11, out_channels=11, groups=11, padding=1, layout="NHWC", bias=True
    ),
    "NHWC depthwise, one pixel": Conv2d(
        height=3, width=3, in_channels=9, out_channels=9, groups=9, layout="NHWC"
    ),
    "depthwise over the whole image": Conv2d(
        height=7, width=7, in_channels=19, out_channels=19, groups=19, kernel=7, batch=2
    ),
    "depthwise of one padded pixel": Conv2d(
        height=1, width=1, in_channels=10, out_channels=10, groups=10, padding=1, relu=True
    ),
    "greatest of one padded window": Pool2d(height=2, width=2, channels=11, kernel=3, stride=2, padding=1),
    "mean of one padded window": Pool2d(
        height=2, width=2, channels=11, kernel=3, stride=2, padding=1, kind="average"
    ),
    "strided, to one channel": Conv2d(
        height=9, width=8, in_channels=5, out_channels=1, kernel=1, stride=2, batch=2
    ),
}


@pytest.mark.parametrize("operator", CORNERS.values(), ids=CORNERS.keys())
def test_a_corner_case_has_schedules_that_compute_it(operator: Operator) -> None:
    assert_schedules_compute(operator, runnable_target(8))


@pytest.mark.parametrize("lanes", [8, 16])
@pytest.mark.parametrize(
    "operator",
    [
        Matmul(m=5, k=70, n=37),
        Matmul(m=3, k=9, n=64, transpose_b=True, bias=True),
        Conv2d(height=5, width=6, in_channels=7, out_channels=35, padding=1, relu=True),
    ],
    ids=["matmul", "transposed weights", "convolution"],
)
def test_weights_beyond_the_caches_may_be_packed_in_panels(operator: Operator, lanes: int) -> None:
    target = replace(runnable_target(lanes), l3_bytes=64)
    names = [sketch.name for sketch in build_space(operator.program(), target).sketches]
    assert any(name.endswith("panels") for name in names)
    assert_schedules_compute(operator, target)


def test_weights_that_caches_hold_are_not_packed_in_panels() -> None:
    space = build_space(WORKLOADS["resnet18_c12"].program(), runnable_target(8))
    assert not any("panels" in sketch.name for sketch in space.sketches)


def test_small_windows_alone_are_computed_row_by_row() -> None:
    for name, has_rows in (("mobilenet_d6", True), ("resnet18_c2", False), ("matmul_512", False)):
        space = build_space(WORKLOADS[name].program(), runnable_target(8))
        assert any("rows" in sketch.name for sketch in space.sketches) == has_rows


def assert_schedules_compute(operator: Operator, target: Target) -> None:
    """Some candidates of each sketch, against the reference."""
    space = build_space(operator.program(), target)
    rng = np.random.default_rng(0)
    inputs = small_integer_inputs(operator, rng)
    expected = operator.reference(inputs)
    views = {tensor.name: inputs[tensor.name].reshape(tensor.shape) for tensor in space.program.inputs}
    candidates = space.sample(4 * len(space.sketches), rng)
    for row in range(len(candidates)):
        actual = compile_program(space.lower(candidates, row), target)(**views)
        np.testing.assert_allclose(actual.reshape(expected.shape), expected, rtol=1e-6)
