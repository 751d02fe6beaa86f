"""Schedules for GPUs: every operator has some, they compute it, and a batch means what one means."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings

from codegen.ir.interpret import interpret_loops
from codegen.ir.loops import Loop, LoopKind, walk_nodes
from codegen.ir.text import loop_text
from codegen.ops import (
    WORKLOADS,
    Conv2d,
    Elementwise,
    LayerNorm,
    Matmul,
    Operator,
    Reduce,
    Softmax,
    Transpose,
    small_integer_inputs,
    tolerance,
)
from codegen.schedule import ScheduleError, build_space
from codegen.schedule.examples import row_sum, scaled_relu, transpose, vector_add
from codegen.schedule.primitives import bind, partial_reduction, split, vectorize_nest
from codegen.schedule.simplify import simplify_loops
from tests.strategies import operators, seeds
from tests.targets import make_gpu_target

SKETCHES: list[tuple[Operator, list[str]]] = [
    (Matmul(m=64, k=128, n=64, bias=True), ["dot"]),
    (Matmul(m=64, k=512, n=64), ["dot", "dot.split_k"]),
    (Matmul(m=64, k=128, n=64, batch=3, transpose_a=True), ["dot"]),
    (Matmul(m=1, k=128, n=64), ["vector"]),
    (Matmul(m=64, k=128, n=64, transpose_b=True), ["dot", "dot.packed_b"]),
    (
        WORKLOADS["resnet18_c9"],
        ["dot", "dot.packed_w", "dot.split_ic", "dot.staged_x", "dot.staged_x.split_ic"],
    ),
    (WORKLOADS["resnet18_c3"], ["dot", "dot.packed_w"]),  # 1x1: reads whole rows of the image
    (WORKLOADS["resnet18_c5"], ["dot", "dot.packed_w", "dot.staged_x"]),  # 1x1 in strides
    (replace(WORKLOADS["resnet18_c9"], layout="NHWC"), ["dot", "dot.packed_w", "dot.split_ic"]),
    (Conv2d(height=8, width=8, in_channels=8, out_channels=8, groups=2), ["dot", "dot.packed_w"]),
    (WORKLOADS["mobilenet_d5"], ["vector"]),
    (Softmax(rows=4, cols=100), ["rows.kept", "rows.chunked"]),
    (LayerNorm(rows=4, cols=50_000), ["rows.chunked"]),
    (Reduce(rows=4, cols=1000), ["vector", "vector.split_c"]),
    (Transpose(rows=4, cols=5), ["fused"]),
    (Elementwise(shape=(4, 5), ops=("gelu",)), ["fused"]),
]


@pytest.mark.parametrize(("operator", "names"), SKETCHES)
def test_an_operator_has_the_sketches_that_fit_it(operator: Operator, names: list[str]) -> None:
    space = build_space(operator.program(), make_gpu_target())
    assert [sketch.name for sketch in space.sketches] == names


@settings(max_examples=60)
@given(operator=operators(), seed=seeds)
def test_any_gpu_schedule_of_any_operator_computes_its_reference(operator: Operator, seed: int) -> None:
    space = build_space(operator.program(), make_gpu_target())
    rng = np.random.default_rng(seed)
    inputs = small_integer_inputs(operator, rng)
    views = {tensor.name: inputs[tensor.name].reshape(tensor.shape) for tensor in space.program.inputs}
    actual = interpret_loops(space.lower(space.sample(1, rng), 0), views)
    rtol, atol = tolerance(operator.program())
    np.testing.assert_allclose(actual, operator.reference(inputs).reshape(actual.shape), rtol, 10 * atol)


@settings(max_examples=40)
@given(operator=operators(wide=True), seed=seeds)
def test_a_candidate_alone_is_what_it_is_in_a_batch(operator: Operator, seed: int) -> None:
    space = build_space(operator.program(), make_gpu_target())
    candidates = space.sample(1, np.random.default_rng(seed))
    sketch = space.sketches[int(candidates.sketches[0])]
    values = {
        name: int(array[0])
        for name, array in space.values(int(candidates.sketches[0]), candidates.positions).items()
    }
    alone = simplify_loops(sketch.lower(values))
    assert loop_text(space.lower(candidates, 0)) == loop_text(alone)


@settings(max_examples=40)
@given(operator=operators(wide=True), seed=seeds)
def test_a_canonical_candidate_is_the_same_kernel(operator: Operator, seed: int) -> None:
    space = build_space(operator.program(), make_gpu_target())
    candidates = space.sample(4, np.random.default_rng(seed))
    least = space.canonical(candidates)
    for row in range(4):
        assert loop_text(space.lower(least, row)) == loop_text(space.lower(candidates, row))


def test_a_group_larger_than_the_matrix_is_no_other_schedule() -> None:
    space = build_space(Matmul(m=128, k=32, n=32).program(), make_gpu_target())
    knobs = {"m_block": 64, "n_block": 32, "k_block": 32, "num_warps": 4, "num_stages": 1}
    both = space.decode([{"sketch": "dot", "knobs": {**knobs, "m_group": group}} for group in (2, 8)])
    assert len(set(space.canonical(both).keys().tolist())) == 1


@settings(max_examples=40)
@given(operator=operators(wide=True), seed=seeds)
def test_programs_have_tiles_of_powers_of_two(operator: Operator, seed: int) -> None:
    space = build_space(operator.program(), make_gpu_target())
    loops = space.lower(space.sample(1, np.random.default_rng(seed)), 0)
    tiles = [
        n.extent for n in walk_nodes(loops.body) if isinstance(n, Loop) and n.kind is LoopKind.VECTORIZED
    ]
    assert tiles
    assert all(isinstance(size, int) and size.bit_count() == 1 for size in tiles)


def test_tensor_cores_get_at_least_sixteen_of_each() -> None:
    space = build_space(Conv2d(height=5, width=5, in_channels=3, out_channels=2).program(), make_gpu_target())
    values = space.values(0, space.enumerate(10_000).positions)
    rows = values["oh_block"] * values["ow_block"]
    depth = values["ic_block"] * values["kh_block"] * values["kw_block"]
    assert min(rows.min(), depth.min(), values["oc_block"].min()) == 16
    assert rows.max() <= 256


@pytest.mark.parametrize(
    ("reason", "step"),
    [
        ("are not a perfect nest in this order", lambda: bind(transpose(2, 3), ["j", "i"])),
        ("is not an outermost loop", lambda: bind(transpose(2, 3), ["j"])),
        ("are not a perfect nest", lambda: bind(row_sum(2, 3), ["i", "k"])),
        ("only an innermost nest", lambda: vectorize_nest(transpose(2, 3), ["i"])),
        ("is not the outermost reduction", lambda: partial_reduction(vector_add(4), "i", "p")),
        ("is not the outermost reduction", lambda: partial_reduction(scaled_relu(4), "c_i", "p")),
        ("there is no loop", lambda: partial_reduction(row_sum(2, 3), "z", "p")),
    ],
)
def test_an_illegal_step_is_refused(reason: str, step) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ScheduleError, match=reason):
        step()


def test_a_reduction_in_two_passes_is_the_same() -> None:
    loops = partial_reduction(split(row_sum(3, 10), "k", 4, ("k0", "k1")), "k0", "part")
    values = np.arange(30.0).reshape(3, 10)
    np.testing.assert_array_equal(interpret_loops(loops, {"a": values}), values.sum(axis=1))
