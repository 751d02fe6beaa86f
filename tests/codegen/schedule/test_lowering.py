"""Lowering keeps what a program computes, and lowers a batch as it lowers each candidate alone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codegen.ir.affine import Affine
from codegen.ir.arithmetic import Int
from codegen.ir.expression import Expr, Load, walk
from codegen.ir.interpret import interpret_loops, interpret_program
from codegen.ir.loops import Loop, LoopProgram, Store, walk_nodes
from codegen.ops import make_operator, small_integer_inputs
from codegen.schedule import build_space
from codegen.schedule.simplify import simplify_loops
from tests.targets import make_target

OPERATORS = [
    ("conv2d", {"height": 7, "width": 6, "in_channels": 3, "out_channels": 5, "padding": 1, "bias": True}),
    ("conv2d", {"height": 5, "width": 7, "in_channels": 4, "out_channels": 6, "stride": 2, "relu": True}),
    (
        "conv2d",
        {"height": 4, "width": 5, "in_channels": 66, "out_channels": 9, "kernel": 1, "residual": True},
    ),
    ("conv2d", {"height": 7, "width": 7, "in_channels": 4, "out_channels": 6, "groups": 2, "padding": 1}),
    ("conv2d", {"height": 9, "width": 7, "in_channels": 3, "out_channels": 3, "groups": 3, "dilation": 2}),
    ("matmul", {"m": 7, "k": 65, "n": 9, "bias": True}),
    ("matmul", {"m": 3, "k": 5, "n": 6, "batch": 2, "transpose_a": True}),
    ("matmul", {"m": 5, "k": 4, "n": 7, "batch": 2, "transpose_b": True}),
    (
        "pool2d",
        {"kind": "max", "height": 7, "width": 8, "channels": 3, "kernel": 3, "stride": 2, "padding": 1},
    ),
    ("softmax", {"rows": 5, "cols": 11}),
    ("layer_norm", {"rows": 3, "cols": 9}),
    ("global_average_pool", {"channels": 5, "height": 3, "width": 3}),
    ("transpose", {"rows": 5, "cols": 7}),
]


@pytest.mark.parametrize(("name", "parameters"), OPERATORS)
@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_any_schedule_computes_the_same_result(name: str, parameters: dict[str, object], seed: int) -> None:
    operator = make_operator(name, parameters)
    space = build_space(operator.program(), make_target())
    rng = np.random.default_rng(seed)
    arrays = small_integer_inputs(operator, rng)  # so reordered sums stay exact
    inputs = {tensor.name: arrays[tensor.name].reshape(tensor.shape) for tensor in space.program.inputs}
    candidates = space.sample(1, rng)
    actual = interpret_loops(space.lower(candidates, 0), inputs)
    np.testing.assert_allclose(actual, interpret_program(space.program, inputs), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("name", "parameters"), OPERATORS)
def test_a_batch_lowers_like_each_candidate_alone(name: str, parameters: dict[str, object]) -> None:
    space = build_space(make_operator(name, parameters).program(), make_target())
    candidates = space.sample(40, np.random.default_rng(11))
    for number, rows in space.by_sketch(candidates):
        values = space.values(number, candidates.positions[rows])
        batch = list(integers(space.sketches[number].lower(values)))
        for place in range(len(rows)):
            alone = space.sketches[number].lower({key: int(v[place]) for key, v in values.items()})
            picked = [int(np.broadcast_to(value, len(rows))[place]) for value in batch]
            assert picked == list(integers(alone))


def integers(loops: LoopProgram) -> Iterator[Int]:
    """Every extent, bound, coefficient and size of a tree in a fixed order, without what may vanish."""
    for buffer in loops.buffers:
        yield from buffer.shape
    for node in walk_nodes((*loops.prepack, *loops.body)):
        if isinstance(node, Loop):
            yield node.extent
            yield node.unroll
        elif isinstance(node, Store):
            for index in node.index:
                yield from affine_integers(index)
            yield from expression_integers(node.value)


def affine_integers(index: Affine) -> Iterator[Int]:
    yield index.constant
    yield from (coefficient for _, coefficient in index.terms)


def expression_integers(value: Expr) -> Iterator[Int]:
    for part in walk(value):
        if isinstance(part, Load):
            for index in part.index:
                yield from affine_integers(index)


def test_instantiating_recorded_arithmetic_equals_lowering_with_numbers() -> None:
    operator = make_operator(
        "conv2d", {"height": 9, "width": 8, "in_channels": 65, "out_channels": 7, "padding": 1}
    )
    space = build_space(operator.program(), make_target())
    candidates = space.sample(60, np.random.default_rng(3))
    for row in range(60):
        sketch = space.sketches[int(candidates.sketches[row])]
        values = {
            k: int(v[0])
            for k, v in space.values(
                int(candidates.sketches[row]), candidates.positions[row : row + 1]
            ).items()
        }
        assert space.lower(candidates, row) == simplify_loops(sketch.lower(values))
