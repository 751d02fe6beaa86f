"""Recorded arithmetic means what the same arithmetic on ints means."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codegen.ir.arithmetic import Int, ceil_div, maximum, minimum, symbol
from codegen.ir.trace import compile_arithmetic, log2, ratio, record, replay
from codegen.ir.trace_native import assemble, execute, run

NAMES = ("a", "b", "c")


@st.composite
def formulas(draw: st.DrawFn) -> list[tuple[str, Any, Any]]:
    """Steps of arithmetic; operands are knobs, constants or (as numbers) earlier steps."""
    steps: list[tuple[str, Any, Any]] = []
    for number in range(draw(st.integers(1, 12))):
        operand = st.one_of(
            st.sampled_from(NAMES),
            st.integers(1, 9).map(lambda value: ("constant", value)),
            *([st.integers(0, number - 1)] if number else []),
        )
        name = draw(st.sampled_from(["add", "mul", "ceil_div", "min", "max", "minus_least"]))
        steps.append((name, draw(operand), draw(operand)))
    return steps


def evaluate(steps: list[tuple[str, Any, Any]], knobs: dict[str, Int]) -> list[Int]:
    """The value of every step; all values stay positive and small."""
    values: list[Int] = []

    def operand(of: Any) -> Int:
        if isinstance(of, str):
            return knobs[of]
        return of[1] if isinstance(of, tuple) else values[of]

    for name, left, right in steps:
        x, y = minimum(operand(left), 1000), minimum(operand(right), 1000)
        operations = {
            "add": lambda x, y: x + y,
            "mul": lambda x, y: x * y,
            "ceil_div": ceil_div,
            "min": minimum,
            "max": maximum,
            "minus_least": lambda x, y: x - minimum(x, y) + 1,
        }
        values.append(operations[name](x, y))
    return values


@given(steps=formulas(), rows=st.lists(st.tuples(*[st.integers(1, 600)] * 3), min_size=1, max_size=20))
def test_recorded_arithmetic_equals_arithmetic_on_ints(
    steps: list[tuple[str, Any, Any]], rows: list[tuple[int, int, int]]
) -> None:
    outputs = evaluate(steps, {name: symbol(name) for name in NAMES})
    compiled = compile_arithmetic(outputs, NAMES)
    columns = {name: np.array([row[i] for row in rows]) for i, name in enumerate(NAMES)}
    expected = [evaluate(steps, dict(zip(NAMES, row, strict=True))) for row in rows]
    np.testing.assert_array_equal(compiled(columns), expected)


@given(steps=formulas(), num=st.integers(1, 300), seed=st.integers(0, 2**32))
def test_native_code_equals_numpy_bit_for_bit(steps: list[tuple[str, Any, Any]], num: int, seed: int) -> None:
    values = evaluate(steps, {name: symbol(name) for name in NAMES})
    outputs = [*values, *map(log2, values), ratio(values[-1], values[0])]
    tape = record(outputs, NAMES)
    columns = np.random.default_rng(seed).integers(1, 5000, (3, num)).astype(np.float64)
    np.testing.assert_array_equal(run(tape, columns), replay(tape, columns))


def test_a_batch_equals_each_row_alone() -> None:
    tape = record([log2(symbol("a") * symbol("b") + 3), ratio(symbol("a"), symbol("b"))], NAMES)
    code = assemble(tape, np.float32)
    columns = np.random.default_rng(0).integers(1, 99, (3, 270)).astype(np.float64)
    batch = execute(code, columns, np.float32)
    alone = [execute(code, columns[:, i : i + 1], np.float32)[:, 0] for i in range(270)]
    np.testing.assert_array_equal(batch, np.stack(alone, axis=1))


def test_log2_is_exact_for_powers_of_two_and_close_elsewhere() -> None:
    log = compile_arithmetic([log2(symbol("a"))], ["a"])
    np.testing.assert_array_equal(log({"a": 2 ** np.arange(50)})[:, 0], np.arange(50))
    values = np.arange(1, 20000)
    np.testing.assert_allclose(log({"a": values})[:, 0], np.log2(values), atol=1e-10)


def test_equal_subexpressions_are_computed_once() -> None:
    a, b = symbol("a"), symbol("b")
    tape = record([(a + b) * 2, (b + a) * 2, (a + b) * (2 * 1)], NAMES)
    assert [operation.name for operation in tape.operations] == ["input", "input", "add", "mul"]
    assert len(set(tape.outputs)) == 1


def test_known_outputs_need_no_operations() -> None:
    tape = record([7, log2(8), ratio(symbol("a"), symbol("a"))], NAMES)
    assert tape.outputs == (7.0, 3.0, 1.0)
    np.testing.assert_array_equal(run(tape, np.ones((3, 2))), [[7, 7], [3, 3], [1, 1]])


def test_a_long_chain_needs_no_recursion() -> None:
    value: Int = symbol("a")
    for _ in range(5000):
        value = value + 1
    assert compile_arithmetic([value], ["a"])({"a": np.array([1, 2])}).tolist() == [[5001], [5002]]


def test_no_candidates_give_no_rows() -> None:
    assert compile_arithmetic([symbol("a") + 1], ["a"])({"a": np.zeros(0)}).shape == (0, 1)


def test_an_unknown_input_is_named() -> None:
    with pytest.raises(ValueError, match=r"'z'.*\['a'\]"):
        record([symbol("z") + 1], ["a"])


def test_arrays_are_not_recorded() -> None:
    with pytest.raises(ValueError, match="only ints and Symbols"):
        record([np.arange(3)], ["a"])


def test_a_tape_without_operations_runs_no_code() -> None:
    code = assemble(record([3, 4], NAMES), np.float64)
    assert not len(code.instructions)
    behind = assemble(record([symbol("a")], NAMES), np.float64).instructions
    behind["target"] = 1 << 30  # whoever runs what lies behind no instructions ends the process
    code = replace(code, instructions=behind[:0])
    np.testing.assert_array_equal(execute(code, np.ones((3, 5)), np.float64), [[3.0] * 5, [4.0] * 5])
