"""Winograd's algorithm: where it is offered, what its matrices compute, and how exact it is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from codegen.ir.loops import LoopKind, Scope, walk_nodes
from codegen.llvm.build import compile_program
from codegen.ops import Conv2d, Operator, make_inputs, tolerance
from codegen.schedule import Space, build_space
from codegen.schedule.rules.winograd_matrices import transform
from tests.codegen.llvm.loop_building import runnable_target
from tests.targets import make_target

CONV = Conv2d(height=12, width=13, in_channels=16, out_channels=24, padding=1)
SKETCHES = ["winograd2.blocks", "winograd2.phases", "winograd4.blocks", "winograd4.phases"]
EVERY_SKETCH = pytest.mark.parametrize("sketch", SKETCHES)


def winograd_names(operator: Operator) -> list[str]:
    space = build_space(operator.program(), make_target())
    return [sketch.name for sketch in space.sketches if sketch.name.startswith("winograd")]


def some_candidate(space: Space, sketch: str) -> dict[str, object]:
    candidates = space.sample(200, np.random.default_rng(0))
    named = (space.named(candidates, row) for row in range(len(candidates)))
    return next(candidate for candidate in named if candidate["sketch"] == sketch)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize(
    "changes", [{}, {"padding": 0}, {"padding": (0, 1, 2, 3)}, {"batch": 3}, {"bias": True, "residual": True}]
)
def test_it_is_offered_for_dense_3_x_3_convolutions_last_of_all(
    layout: str, changes: dict[str, object]
) -> None:
    operator = replace(CONV, layout=layout, **changes)
    assert winograd_names(operator) == SKETCHES
    names = [sketch.name for sketch in build_space(operator.program(), make_target()).sketches]
    assert names[-4:] == SKETCHES


@pytest.mark.parametrize(
    "changes",
    [
        {"kernel": 5, "padding": 2},
        {"kernel": (3, 1)},
        {"stride": 2},
        {"stride": (1, 2)},
        {"dilation": 2},
        {"groups": 2},
        {"in_channels": 3},
        {"out_channels": 7},
    ],
)
def test_it_is_not_offered_for_other_convolutions(changes: dict[str, object]) -> None:
    assert winograd_names(replace(CONV, **changes)) == []


def test_it_can_be_refused() -> None:
    target = make_target()
    space, exact = (build_space(CONV.program(), target, winograd=wanted) for wanted in (True, False))
    assert [s.name for s in exact.sketches] == [s.name for s in space.sketches if s.name not in SKETCHES]
    assert all(not sketch.errors for sketch in exact.sketches)


@pytest.mark.parametrize("tile", [2, 4])
def test_the_transforms_compute_a_correlation(tile: int) -> None:
    matrices = transform(tile)
    rng = np.random.default_rng(0)
    image, kernel = rng.standard_normal(matrices.points), rng.standard_normal(3)
    products = (np.array(matrices.kernel) @ kernel) * (np.array(matrices.image) @ image)
    np.testing.assert_allclose(
        np.array(matrices.output) @ products, np.correlate(image, kernel, "valid"), rtol=1e-12
    )


@EVERY_SKETCH
def test_blocks_keep_what_lies_between_steps_to_a_thread_and_phases_share_it(sketch: str) -> None:
    space = build_space(CONV.program(), make_target())
    loops = space.lower_named(some_candidate(space, sketch))
    parallel = [n for n in walk_nodes(loops.body) if getattr(n, "kind", None) is LoopKind.PARALLEL]
    is_blocked = sketch.endswith("blocks")
    assert loops.buffer("x_points").scope is (Scope.LOCAL if is_blocked else Scope.GLOBAL)
    assert (len(parallel) == 1) == is_blocked


def errors_of(operator: Conv2d, sketch: str, lanes: int) -> NDArray[np.float64]:
    space = build_space(operator.program(), runnable_target(lanes))
    inputs = make_inputs(operator, np.random.default_rng(1))
    views = {tensor.name: inputs[tensor.name].reshape(tensor.shape) for tensor in space.program.inputs}
    actual = compile_program(space.lower_named(some_candidate(space, sketch)), space.target)(**views)
    return np.abs(actual - operator.reference(inputs).reshape(actual.shape))


@EVERY_SKETCH
@pytest.mark.parametrize("channels", [8, 64, 256])
def test_the_error_is_within_its_bound_which_is_not_far_above(sketch: str, channels: int) -> None:
    operator = Conv2d(height=16, width=16, in_channels=channels, out_channels=64, padding=1)
    space = build_space(operator.program(), runnable_target(8))
    _, bound = tolerance(operator.program(), errors=space.errors(some_candidate(space, sketch)))
    worst = errors_of(operator, sketch, lanes=8).max()
    assert bound / 25 < worst < bound / 2


def test_a_bound_grows_with_the_tile_and_carries_on_through_what_follows() -> None:
    bounds = []
    for operator in (CONV, replace(CONV, bias=True, relu=True)):
        space = build_space(operator.program(), make_target())
        for sketch in SKETCHES[::2]:
            errors = space.errors(some_candidate(space, sketch))
            bounds.append(tolerance(operator.program(), errors=errors)[1])
    assert bounds[1] > 2 * bounds[0]
    assert bounds[2] > bounds[0]
    assert bounds[3] > bounds[1]
