"""What every backend promises. A new one joins by a line in ``BACKENDS``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeAlias

import numpy as np
import pytest
from hypothesis import given, settings
from numpy.typing import NDArray

from codegen.gpu_target import GpuTarget
from codegen.ir.affine import Affine, variable
from codegen.ir.arithmetic import Int, symbol
from codegen.ir.expression import Binary, Constant, InRange, Load, Select
from codegen.ir.interpret import interpret_loops
from codegen.ir.loops import Buffer, Guard, If, Loop, LoopKind, LoopProgram, Scope, Store
from codegen.llvm.build import compile_program
from codegen.ops import Operator, small_integer_inputs, tolerance
from codegen.schedule import build_space
from codegen.target import Target
from codegen.triton.run import interpret_triton
from tests.codegen.llvm.loop_building import runnable_target
from tests.strategies import operators, seeds
from tests.targets import make_gpu_target, make_target

Inputs: TypeAlias = Mapping[str, NDArray[np.float32]]
Backend: TypeAlias = Callable[[LoopProgram, Inputs], NDArray[np.floating]]
"""The output buffer of a program for inputs in the shapes of its buffers."""


def run_triton(loops: LoopProgram, inputs: Inputs) -> NDArray[np.float32]:
    pytest.importorskip("triton", reason="triton is not installed")
    return interpret_triton(loops, inputs)


BACKENDS: dict[str, Backend] = {
    "interpreter": interpret_loops,
    "llvm": lambda loops, inputs: compile_program(loops, runnable_target(4, num_threads=2))(**inputs),
    "triton": run_triton,
}
TARGETS: dict[str, Target | GpuTarget] = {"triton": make_gpu_target()}
"""Where schedules of CPUs are not what a backend runs."""
EVERY_BACKEND = pytest.mark.parametrize("name", list(BACKENDS))

I = variable("i")  # noqa: E741
SIZE = 7
X, Y = Buffer("x", (SIZE,), Scope.INPUT), Buffer("y", (SIZE,), Scope.OUTPUT)
VALUES = np.array([3, -1, 4, 1, -5, 9, 2], np.float32)


def program(*body: Loop | Store | If, buffers: tuple[Buffer, ...] = (X, Y)) -> LoopProgram:
    return LoopProgram("contract", buffers, body)


def copy(value: Select | Load | Binary, kind: LoopKind = LoopKind.SERIAL) -> LoopProgram:
    """``y[i] = value``."""
    return program(Loop("i", SIZE, (Store("y", (I,), value),), kind))


@EVERY_BACKEND
@settings(max_examples=30)
@given(operator=operators(), seed=seeds)
def test_any_schedule_of_any_operator_computes_its_reference(
    name: str, operator: Operator, seed: int
) -> None:
    space = build_space(operator.program(), TARGETS.get(name, make_target()))
    rng = np.random.default_rng(seed)
    inputs = small_integer_inputs(operator, rng)
    views = {tensor.name: inputs[tensor.name].reshape(tensor.shape) for tensor in space.program.inputs}
    candidates = space.sample(1, rng)
    actual = BACKENDS[name](space.lower(candidates, 0), views)
    rtol, atol = tolerance(operator.program(), errors=space.errors(space.named(candidates, 0)))
    np.testing.assert_allclose(actual, operator.reference(inputs).reshape(actual.shape), rtol, 10 * atol)


@EVERY_BACKEND
@pytest.mark.parametrize("kind", list(LoopKind))
def test_the_kind_of_a_loop_never_changes_its_result(name: str, kind: LoopKind) -> None:
    doubled = copy(Binary("add", Load("x", (I,)), Load("x", (I,))), kind)
    np.testing.assert_array_equal(BACKENDS[name](doubled, {"x": VALUES}), 2 * VALUES)


@EVERY_BACKEND
@pytest.mark.parametrize("kind", list(LoopKind))
def test_iterations_whose_guard_fails_do_nothing(name: str, kind: LoopKind) -> None:
    ones = Loop("j", SIZE, (Store("y", (variable("j"),), Constant(1.0)),))
    tail = Loop("i", 2 * SIZE, (Store("y", (I,), Load("x", (I,))),), kind, (Guard(I, 5),))
    expected = [*VALUES[:5], 1, 1]
    np.testing.assert_array_equal(BACKENDS[name](program(ones, tail), {"x": VALUES}), expected)


@EVERY_BACKEND
@pytest.mark.parametrize("kind", list(LoopKind))
def test_what_is_selected_away_is_never_read(name: str, kind: LoopKind) -> None:
    before = I - 1
    shifted = Select((InRange(before, 0, SIZE),), Load("x", (before,)), Constant(-2.0))
    actual = BACKENDS[name](copy(shifted, kind), {"x": VALUES})
    np.testing.assert_array_equal(actual, [-2, *VALUES[:-1]])


@EVERY_BACKEND
def test_a_branch_runs_where_all_its_conditions_hold(name: str) -> None:
    conditions = (InRange(I, 2, SIZE), InRange(I, 0, 5))
    branch = If(conditions, (Store("y", (I,), Load("x", (I,))),), (Store("y", (I,), Constant(0.5)),))
    actual = BACKENDS[name](program(Loop("i", SIZE, (branch,))), {"x": VALUES})
    np.testing.assert_array_equal(actual, [0.5, 0.5, *VALUES[2:5], 0.5, 0.5])


@EVERY_BACKEND
@pytest.mark.parametrize(("reducer", "start", "expected"), [("sum", 0.5, 13.5), ("max", -np.inf, 9.0)])
def test_accumulations_add_to_what_is_there(name: str, reducer: str, start: float, expected: float) -> None:
    total = Buffer("y", (1,), Scope.OUTPUT)
    update = Store("y", (Affine(),), Load("x", (I,)), reducer)  # type: ignore[arg-type]
    loops = program(
        Store("y", (Affine(),), Constant(start)),
        Loop("i", SIZE, (update,), is_reduction=True),
        buffers=(X, total),
    )
    np.testing.assert_array_equal(BACKENDS[name](loops, {"x": VALUES}), [expected])


@EVERY_BACKEND
@pytest.mark.parametrize("op", ["max", "min", "add", "mul"])
def test_what_is_no_number_is_carried_along(name: str, op: str) -> None:
    values = np.array([np.nan, *VALUES[1:]], np.float32)
    limited = copy(Binary(op, Load("x", (I,)), Constant(1.0)), LoopKind.VECTORIZED)  # type: ignore[arg-type]
    np.testing.assert_array_equal(np.isnan(BACKENDS[name](limited, {"x": values})), np.isnan(values))


@EVERY_BACKEND
def test_packed_constants_are_there_before_the_body(name: str) -> None:
    turned = Buffer("turned", (SIZE,), Scope.PACKED)
    loops = replace(
        program(Loop("i", SIZE, (Store("y", (I,), Load("turned", (I,))),)), buffers=(X, Y, turned)),
        prepack=(Loop("i", SIZE, (Store("turned", (I * -1 + (SIZE - 1),), Load("x", (I,))),)),),
    )
    np.testing.assert_array_equal(BACKENDS[name](loops, {"x": VALUES}), VALUES[::-1])


@EVERY_BACKEND
def test_a_run_leaves_its_inputs_alone_and_can_be_repeated(name: str) -> None:
    loops, values = copy(Load("x", (I,))), VALUES.copy()
    first = BACKENDS[name](loops, {"x": values})
    second = BACKENDS[name](loops, {"x": values})
    assert not np.shares_memory(first, second)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(values, VALUES)


@EVERY_BACKEND
def test_a_missing_input_is_named(name: str) -> None:
    with pytest.raises(ValueError, match=r"\bx\b"):
        BACKENDS[name](copy(Load("x", (I,))), {})


@EVERY_BACKEND
def test_an_input_of_another_size_is_named_with_both_shapes(name: str) -> None:
    with pytest.raises(ValueError, match=r"x must have shape \(7,\), got \(6,\)"):
        BACKENDS[name](copy(Load("x", (I,))), {"x": VALUES[:6]})


def with_integer(part: str, value: Int) -> LoopProgram:
    """``y[0] = x[0]`` for a value of 1, which stands in one place of the program."""
    values = dict.fromkeys(("shape", "extent", "unroll", "bound", "guard", "index", "condition", "branch"), 1)
    v: dict[str, Int] = {**values, part: value}
    load = Select((InRange(I, 0, v["condition"]),), Load("x", (I * v["index"],)), Constant(0.0))
    branch = If((InRange(I, 0, v["branch"]),), (Store("y", (I,), load),))
    guards = (Guard(I, v["bound"]), Guard(I * v["guard"], 1))
    loop = Loop("i", v["extent"], (branch,), guards=guards, unroll=v["unroll"])
    return program(loop, buffers=(X, Buffer("y", (v["shape"],), Scope.OUTPUT)))


@EVERY_BACKEND
def test_one_candidate_has_plain_integers_everywhere(name: str) -> None:
    np.testing.assert_array_equal(BACKENDS[name](with_integer("extent", 1), {"x": VALUES}), VALUES[:1])


@EVERY_BACKEND
@pytest.mark.parametrize("value", [symbol("tile"), np.array([1, 1])], ids=["symbol", "array"])
@pytest.mark.parametrize("part", ["shape", "extent", "bound", "guard", "index", "condition", "branch"])
def test_a_batch_of_candidates_is_refused(name: str, part: str, value: Int) -> None:
    with pytest.raises(ValueError, match="plain int"):
        BACKENDS[name](with_integer(part, value), {"x": VALUES})
