"""Sketches of what memory bounds: rows, chains and transposes of any size, streamed or not."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codegen.ir.affine import variable
from codegen.ir.expression import Axis, Constant, Expr, InRange, Load, Program, Select, Stage, Tensor
from codegen.ir.interpret import interpret_loops
from codegen.ir.loops import LoopProgram
from codegen.ir.text import loop_text
from codegen.llvm.arrays import aligned_zeros
from codegen.llvm.build import compile_program
from codegen.llvm.emit import emit_module
from codegen.ops import (
    Elementwise,
    GlobalAveragePool,
    LayerNorm,
    Operator,
    Pool2d,
    Reduce,
    ScaleShift,
    Softmax,
    Transpose,
    make_inputs,
    tolerance,
)
from codegen.schedule import ScheduleError, Space, build_space
from codegen.schedule.examples import square_sum
from codegen.schedule.primitives import join, split
from codegen.schedule.row_values import hoist_row_values
from tests.codegen.llvm.loop_building import cpu_target, runnable_target
from tests.strategies import pools, seeds

SIZES = (1, 7, 17, 33, 67)
OPERATORS: list[Operator] = [
    *(
        make(rows=rows, cols=cols)
        for make in (Softmax, LayerNorm, Transpose)
        for rows in SIZES
        for cols in SIZES
    ),
    *(Reduce(rows=5, cols=cols, kind=kind) for cols in SIZES for kind in ("sum", "max", "mean")),
    *(Elementwise(shape=(3, size), ops=("add", "gelu_tanh")) for size in SIZES),
    *(ScaleShift(channels=3, size=size, relu=True) for size in SIZES),
    GlobalAveragePool(channels=13, height=7, width=5),
    *(Pool2d(channels=2, height=9, width=width, kernel=3, stride=2, padding=1) for width in SIZES[1:]),
    *(Pool2d(batch=2, channels=3, height=6, width=w, kernel=2, kind="average") for w in SIZES[1:]),
]


def space_of(operator: Operator, lanes: int, l3_bytes: int) -> Space:
    return build_space(operator.program(), replace(runnable_target(lanes), l3_bytes=l3_bytes))


def names(space: Space) -> list[str]:
    return [sketch.name for sketch in space.sketches]


@pytest.mark.parametrize("lanes", [8, 16])
@pytest.mark.parametrize("operator", OPERATORS, ids=str)
def test_every_sketch_computes_the_operator_at_any_size(operator: Operator, lanes: int) -> None:
    space = space_of(operator, lanes, l3_bytes=64)
    rng = np.random.default_rng(0)
    inputs = make_inputs(operator, rng)
    expected = operator.reference(inputs)
    views = {tensor.name: inputs[tensor.name].reshape(tensor.shape) for tensor in space.program.inputs}
    rtol, atol = tolerance(operator.program())
    candidates = space.sample(50 * len(space.sketches), rng)
    for number, sketch in enumerate(space.sketches):
        loops = space.lower(candidates, int(np.argmax(candidates.sketches == number)))
        actual = compile_program(loops, space.target)(**views)
        np.testing.assert_allclose(actual.reshape(expected.shape), expected, rtol, atol, err_msg=sketch.name)


def test_streams_are_for_what_the_last_cache_does_not_hold() -> None:
    operator = Softmax(rows=8, cols=16)  # 1024 bytes
    assert names(space_of(operator, 8, l3_bytes=1024)) == ["rows", "rows.fused"]
    assert names(space_of(Reduce(rows=8, cols=16), 8, l3_bytes=64)) == ["rows"]
    assert names(space_of(operator, 8, l3_bytes=1023)) == [
        "rows",
        "rows.fused",
        "rows.fused.streamed",
        "rows.fused.ahead",
        "rows.fused.ahead.streamed",
    ]


def test_rows_that_are_read_once_are_not_fetched_ahead() -> None:
    assert not any("ahead" in name for name in names(space_of(Reduce(rows=9, cols=9), 8, l3_bytes=64)))


@pytest.mark.parametrize("lanes", [8, 16])
def test_an_output_at_any_address_may_be_streamed(lanes: int) -> None:
    operator = Elementwise(shape=(200,), ops=("add", "relu"))
    space = space_of(operator, lanes, l3_bytes=64)
    loops = space.lower_named({"sketch": "fused.streamed", "knobs": {"vector": lanes, "inner": 2}})
    assert "output y[200]  # streamed" in loop_text(loops)
    kernel = compile_program(loops, space.target)
    assert "!nontemporal" in emit_module(loops, space.target).text
    inputs = make_inputs(operator, np.random.default_rng(0))
    room, run = np.zeros(232, np.float32), kernel.bind()
    for start in range(17):
        room[:] = -1.0
        run(inputs["x"], inputs["x1"], out=room[start : start + 200])
        np.testing.assert_allclose(room[start : start + 200], operator.reference(inputs), rtol=1e-6)
        assert (np.delete(room, np.s_[start : start + 200]) == -1.0).all()


@st.composite
def large_operators(draw: st.DrawFn) -> Operator:
    """What has streamed sketches, in shapes whose rows begin anywhere in a line."""
    rows, cols = draw(st.integers(1, 40)), draw(st.integers(1, 70))
    kind = draw(st.sampled_from([Softmax, LayerNorm, Transpose, Elementwise, Pool2d]))
    if kind is Elementwise:
        return Elementwise(shape=(rows, cols), ops=("add", "gelu_tanh"))
    return draw(pools(wide=True)) if kind is Pool2d else kind(rows=rows, cols=cols)


@pytest.mark.parametrize("lanes", [8, 16])
@given(operator=large_operators(), start=st.integers(0, 16), num_threads=st.integers(1, 2), data=st.data())
@settings(max_examples=30, deadline=None)
def test_a_streamed_output_is_written_completely_and_alone(
    lanes: int, operator: Operator, start: int, num_threads: int, data: st.DataObject
) -> None:
    target = replace(runnable_target(lanes, num_threads), l3_bytes=4)
    space = build_space(operator.program(), target)
    streamed = [sketch for sketch in space.sketches if sketch.name.endswith(".streamed")]
    if not streamed:
        return
    sketch = data.draw(st.sampled_from(streamed))
    rng = np.random.default_rng(data.draw(seeds))
    knobs = {knob.name: int(rng.choice(knob.values)) for knob in sketch.knobs}
    kernel = compile_program(space.lower_named({"sketch": sketch.name, "knobs": knobs}), target)
    inputs = make_inputs(operator, rng)
    shapes = {tensor.name: tensor.shape for tensor in space.program.inputs}
    operands = {name: array.reshape(shapes[name]) for name, array in inputs.items()}
    output = space.program.output
    size = int(np.prod(output.shape))
    room = aligned_zeros(size + 48)
    room[:] = -77.0
    run = kernel.bind(**{name: operands.pop(name) for name in kernel.signature.prepack_inputs})
    y = room[start : start + size].reshape(output.shape)
    run(*(operands[buffer.name] for buffer in run.free), out=y)
    rtol, atol = tolerance(operator.program())
    np.testing.assert_allclose(y.ravel(), operator.reference(inputs).ravel(), rtol, atol)
    assert (np.delete(room, np.s_[start : start + size]) == -77.0).all()


@pytest.mark.parametrize(("cols", "part"), [(64, 16), (40, 8), (36, 4), (35, 0)])
def test_rows_that_begin_inside_a_line_are_streamed_in_parts(cols: int, part: int) -> None:
    space = space_of(Softmax(rows=4, cols=cols), 16, l3_bytes=64)
    loops = space.lower_named({"sketch": "rows.fused.streamed", "knobs": {"row_inner": 2, "vector": 16}})
    text = emit_module(loops, space.target).text
    stored = set(re.findall(r"store <(\d+) x float> .*!nontemporal", text))
    assert stored == ({str(part)} if part else set())
    assert text.count("fence seq_cst") == 1


def test_separated_windows_equal_whole_ones_where_a_nan_or_an_infinity_is_met() -> None:
    operator = Pool2d(channels=3, height=8, width=37, kernel=3, stride=2, padding=1)
    x = np.random.default_rng(0).standard_normal((1, 3, 8, 37)).astype(np.float32)
    x[0, 0, 3, 4], x[0, 1, :, 20:], x[0, 2, 7, 36] = np.nan, -np.inf, np.inf
    for lanes in (8, 16):
        space = space_of(operator, lanes, l3_bytes=2**20)
        knobs = {"row_inner": 3, "column_vector": lanes, "vector": lanes}
        loops = space.lower_named({"sketch": "separated", "knobs": knobs})
        y = compile_program(loops, space.target)(x=x.reshape(space.program.inputs[0].shape))
        np.testing.assert_array_equal(y.ravel(), operator.reference({"x": x}).ravel())


def test_windows_of_one_dimension_are_not_separated() -> None:
    for kernel in ((1, 3), (3, 1)):
        space = space_of(Pool2d(channels=3, height=8, width=9, kernel=kernel), 8, l3_bytes=2**20)
        assert "separated" not in names(space)


@pytest.mark.parametrize(
    ("index", "condition"),
    [("h + i + j", None), ("h + i + w", None), ("h + i", "j"), ("h + i", "w")],
)
def test_windows_that_do_not_slide_along_a_row_are_not_separated(index: str, condition: str | None) -> None:
    h, w, i, j = (variable(name) for name in "hwij")
    places = {"h + i + j": h + i + j, "h + i + w": h + i + w, "h + i": h + i}
    value: Expr = Load("x", (places[index], w + j))
    if condition is not None:
        value = Select((InRange(variable(condition), 0, 2),), value, Constant(0.0))
    axes, window = (Axis("h", 4), Axis("w", 20)), (Axis("i", 3), Axis("j", 3))
    stage = Stage(Tensor("y", (4, 20)), axes, value, window, "max")
    space = build_space(Program("skewed", (Tensor("x", (30, 22)),), (stage,)), cpu_target(8))
    assert not any(sketch.name.startswith("separated") for sketch in space.sketches)


def test_transposes_are_fetched_ahead_where_the_caches_do_not_hold_them() -> None:
    operator = Transpose(rows=128, cols=32)
    assert not any("ahead" in name for name in names(space_of(operator, 8, l3_bytes=2**20)))
    space = space_of(operator, 8, l3_bytes=64)
    loops = space.lower_named({"sketch": "tiles.ahead", "knobs": {"c_inner": 4, "r_inner": 2}})
    assert "fetch x + 32" in loop_text(loops)
    ahead = next(sketch for sketch in space.sketches if sketch.name == "tiles.ahead")
    assert [knob.values for knob in ahead.knobs] == [(4,), (1, 2, 3, 4)]


def test_the_interpreter_ignores_streams_and_fetches() -> None:
    space = space_of(LayerNorm(rows=3, cols=9), 8, l3_bytes=64)
    knobs = {"row_inner": 2, "vector": 8}
    plain, special = (
        space.lower_named({"sketch": name, "knobs": knobs})
        for name in ("rows.fused", "rows.fused.ahead.streamed")
    )
    assert "fetch x + 9:" in loop_text(special)
    assert "fetch x + 18:" in loop_text(special)
    inputs = make_inputs(LayerNorm(rows=3, cols=9), np.random.default_rng(0))
    np.testing.assert_array_equal(interpret_loops(plain, inputs), interpret_loops(special, inputs))


def test_transposes_gather_nothing() -> None:
    space = space_of(Transpose(rows=64, cols=32), 8, l3_bytes=2**20)
    loops = space.lower_named({"sketch": "tiles", "knobs": {"c_inner": 1, "r_inner": 2}})
    assert "gather" not in emit_module(loops, space.target).text


@pytest.mark.parametrize("lanes", [8, 16])
@pytest.mark.parametrize("sketch", ["rows", "rows.fused"])
def test_softmax_of_rows_with_nan_or_infinity_is_nan_there_alone(sketch: str, lanes: int) -> None:
    x = np.random.default_rng(0).standard_normal((5, 37)).astype(np.float32)
    x[1, 20], x[2, 3], x[3, 36] = np.nan, np.inf, -np.inf
    x[4] = -np.inf
    space = space_of(Softmax(rows=5, cols=37), lanes, l3_bytes=2**20)
    loops = space.lower_named({"sketch": sketch, "knobs": {"row_inner": 2, "vector": lanes}})
    y = compile_program(loops, space.target)(x=x)
    np.testing.assert_array_equal(np.isnan(y).all(axis=1), [False, True, True, False, True])
    assert y[3, 36] == 0.0
    np.testing.assert_allclose(y[[0, 3]].sum(axis=1), 1.0, rtol=1e-5)


def test_what_a_row_shares_is_computed_once_a_row() -> None:
    program = hoist_row_values(LayerNorm(rows=3, cols=9).program())
    with_columns = [stage for stage in program.stages if len(stage.axes) + len(stage.reduce_axes) > 1]
    assert not any("sqrt" in str(stage.value) or "div" in str(stage.value) for stage in with_columns)
    assert any("sqrt" in str(stage.value) for stage in program.stages)


def test_loops_that_access_a_result_differently_are_not_joined() -> None:
    loops: LoopProgram = split(split(square_sum(8), "i", 4, ("i0", "i1")), "k", 2, ("k0", "k1"))
    with pytest.raises(ScheduleError, match="differ in extent"):
        join(loops, "i0", "k0")
    loops = split(split(square_sum(8), "i", 4, ("i0", "i1")), "k", 4, ("k0", "k1"))
    assert "b[i0*4 + k1]" in loop_text(join(loops, "i0", "k0"))
    with pytest.raises(ScheduleError, match="does not come after"):
        join(loops, "k0", "i0")
