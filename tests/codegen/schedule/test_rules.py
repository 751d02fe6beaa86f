"""Every operator has schedules, also where its result has one pixel, one channel or no pixel axis to tile."""

from __future__ import annotations

import numpy as np
import pytest

from codegen.llvm.build import compile_program
from codegen.ops import Conv2d, Operator, Pool2d, small_integer_inputs
from codegen.schedule import build_space
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
    target = runnable_target(8)
    space = build_space(operator.program(), target)
    rng = np.random.default_rng(0)
    inputs = small_integer_inputs(operator, rng)
    expected = operator.reference(inputs)
    views = {tensor.name: inputs[tensor.name].reshape(tensor.shape) for tensor in space.program.inputs}
    candidates = space.sample(4 * len(space.sketches), rng)
    for row in range(len(candidates)):
        actual = compile_program(space.lower(candidates, row), target)(**views)
        np.testing.assert_allclose(actual.reshape(expected.shape), expected, rtol=1e-6)
