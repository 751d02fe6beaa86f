"""Lowering keeps what a program computes, and lowers a batch as it lowers each candidate alone."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
from hypothesis import example, given, settings

from codegen.ir.affine import Affine
from codegen.ir.interpret import interpret_loops
from codegen.ir.loops import LoopProgram
from codegen.ops import Conv2d, LayerNorm, Matmul, Operator, Softmax, small_integer_inputs
from codegen.schedule import Candidates, Space, build_space
from codegen.schedule.instantiate import instantiate
from codegen.schedule.simplify import simplify_loops
from tests.strategies import operators, seeds
from tests.targets import make_target

PADDED = Conv2d(height=7, width=6, in_channels=3, out_channels=5, padding=1, bias=True)
CUT_REDUCTION = Conv2d(height=4, width=5, in_channels=66, out_channels=9, kernel=1, residual=True)
PADDED_PIXEL = Conv2d(height=1, width=1, in_channels=3, out_channels=4, kernel=1, padding=1)
GROUPED = Conv2d(height=7, width=7, in_channels=4, out_channels=6, groups=2, padding=1, layout="NHWC")
LONG_MATMUL = Matmul(m=7, k=65, n=9, transpose_a=True)
DEPTHWISE = Conv2d(height=7, width=6, in_channels=6, out_channels=6, groups=6, dilation=2, layout="NHWC")
BATCHED = Matmul(m=5, k=4, n=7, batch=2, transpose_b=True)


@settings(max_examples=60)
@given(operator=operators(), seed=seeds)
@example(operator=PADDED, seed=1)
@example(operator=CUT_REDUCTION, seed=2)
@example(operator=LONG_MATMUL, seed=3)
@example(operator=PADDED_PIXEL, seed=4)
def test_any_schedule_computes_the_same_result(operator: Operator, seed: int) -> None:
    space = build_space(operator.program(), make_target())
    rng = np.random.default_rng(seed)
    inputs = small_integer_inputs(operator, rng)  # so reordered sums stay exact
    actual = interpret_loops(space.lower(space.sample(1, rng), 0), inputs)
    expected = operator.reference(inputs).reshape(space.program.output.shape)
    np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-11)


@settings(max_examples=30)
@given(operator=operators(wide=True), seed=seeds)
@example(operator=PADDED, seed=1)
@example(operator=CUT_REDUCTION, seed=2)
@example(operator=GROUPED, seed=3)
@example(operator=LONG_MATMUL, seed=4)
@example(operator=BATCHED, seed=5)
@example(operator=DEPTHWISE, seed=8)
@example(operator=Softmax(rows=5, cols=11), seed=6)
@example(operator=LayerNorm(rows=3, cols=9), seed=7)
def test_a_batch_lowers_like_each_candidate_alone(operator: Operator, seed: int) -> None:
    space = build_space(operator.program(), make_target())
    candidates = space.sample(8, np.random.default_rng(seed))
    for number, rows in space.by_sketch(candidates):
        sketch = space.sketches[number]
        batch = sketch.lower(space.values(number, candidates.positions[rows]))
        for place, row in enumerate(rows):
            knobs = knobs_of(space, candidates, row)
            taken = one_of(batch, place)
            assert taken == instantiate(sketch.recorded, knobs)
            alone = simplify_loops(sketch.lower(knobs))
            assert simplify_loops(taken) == alone
            assert space.lower(candidates, row) == alone


def knobs_of(space: Space, candidates: Candidates, row: int) -> dict[str, int]:
    sketch = space.sketches[int(candidates.sketches[row])]
    return {
        knob.name: knob.values[int(candidates.positions[row, column])]
        for column, knob in enumerate(sketch.knobs)
    }


def one_of(batch: LoopProgram, place: int) -> LoopProgram:
    """One candidate's tree: of every array anywhere in the batch's tree that element."""
    taken = _taken(batch, place)
    assert isinstance(taken, LoopProgram)
    return taken


def _taken(part: Any, place: int) -> Any:
    if isinstance(part, np.ndarray):
        return int(part[place])
    if isinstance(part, tuple):
        return tuple(_taken(entry, place) for entry in part)
    if not is_dataclass(part):
        return part
    values = {field.name: _taken(getattr(part, field.name), place) for field in fields(part)}
    if isinstance(part, Affine):  # terms of coefficient 0 are left out where they are known
        values["terms"] = tuple(term for term in values["terms"] if term[1])
    return type(part)(**values)
