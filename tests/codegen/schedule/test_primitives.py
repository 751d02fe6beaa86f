"""Primitives refuse what is illegal and keep what the loops compute."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codegen.ir.affine import Affine, variable
from codegen.ir.expression import Axis, Constant, InRange, Load, Program, Select, Stage, Tensor
from codegen.ir.interpret import interpret_loops
from codegen.ir.loops import LoopProgram, Scope
from codegen.ir.text import loop_text
from codegen.schedule import ScheduleError
from codegen.schedule.examples import padded_sum, row_sum, scaled_relu, transpose, vector_add
from codegen.schedule.naive import naive_loops
from codegen.schedule.primitives import (
    Block,
    cache_read,
    cache_write,
    compute_at,
    factor_reduction,
    fission,
    fuse,
    make_local,
    pack,
    parallel,
    reorder,
    split,
    unroll,
    vectorize,
)


def masked_copy() -> LoopProgram:
    """``c[i] = a[0]`` for the first two i, else 0: a copy of ``a`` cannot hold the zeros."""
    value = Select((InRange(variable("i"), 0, 2),), Load("a", (Affine(),)), Constant(0.0))
    stage = Stage(Tensor("c", (4,)), (Axis("i", 4),), value)
    return naive_loops(Program("masked_copy", (Tensor("a", (1,)),), (stage,)))


ILLEGAL: list[tuple[str, Callable[[], LoopProgram]]] = [
    ("there is no loop 'z'", lambda: split(vector_add(8), "z", 2, ("a", "b"))),
    ("must be positive, got 0", lambda: split(vector_add(8), "i", 0, ("a", "b"))),
    ("exist already", lambda: split(transpose(2, 3), "i", 2, ("j", "b"))),
    ("not a perfect nest", lambda: reorder(row_sum(2, 3), ["k", "i"])),
    ("named twice", lambda: reorder(transpose(2, 3), ["i", "i"])),
    ("only an innermost loop", lambda: vectorize(transpose(2, 3), "i")),
    ("is a reduction", lambda: parallel(row_sum(2, 3), "k")),
    ("must be positive, got -1", lambda: unroll(vector_add(8), "i", -1)),
    ("does not write 'a'", lambda: cache_write(row_sum(2, 3), "i", "a", "acc", Scope.REGISTER)),
    ("is not read here", lambda: cache_read(row_sum(2, 3), "i", "c", "copy", Scope.LOCAL)),
    ("depends on more than", lambda: cache_read(masked_copy(), None, "a", "copy", Scope.GLOBAL)),
    ("is padded", lambda: pack(padded_sum(4), "a", "p", (Block(0, "i", 2),), is_constant=True)),
    ("nodes inside", lambda: fission(row_sum(2, 3), "i", ("",))),
    ("do not number", lambda: fission(row_sum(2, 3), "k", ("",))),
    ("is not elementwise", lambda: compute_at(row_sum(2, 3), "a", "c")),
    ("do not stand next to each other", lambda: fuse(transpose(2, 3), ("i", "j"))),
    ("is not an intermediate result", lambda: make_local(row_sum(2, 3), "i", "c")),
    ("is not right inside", lambda: factor_reduction(row_sum(2, 3), "i", "k", "part")),
]


@pytest.mark.parametrize(("message", "step"), ILLEGAL, ids=[message for message, _ in ILLEGAL])
def test_an_illegal_step_raises_one_exception_with_the_reason(
    message: str, step: Callable[[], LoopProgram]
) -> None:
    with pytest.raises(ScheduleError, match=message):
        step()


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9), st.integers(1, 9))
def test_tails_of_nested_splits_are_exact(rows: int, columns: int, outer: int, inner: int) -> None:
    loops = split(transpose(rows, columns), "i", outer, ("i0", "i1"))
    loops = split(loops, "j", outer * inner, ("j0", "rest"))
    loops = split(loops, "rest", inner, ("j1", "j2"))
    loops = reorder(loops, ["j0", "i0", "j1", "i1", "j2"])
    a = np.arange(rows * columns, dtype=np.float32).reshape(columns, rows)
    np.testing.assert_array_equal(interpret_loops(loops, {"a": a}), a.T)


def test_a_primitive_leaves_its_argument_as_it_was() -> None:
    before = transpose(4, 6)
    split(before, "i", 2, ("i0", "i1"))
    assert before == transpose(4, 6)


def test_fused_local_stages_compute_the_chain() -> None:
    loops = make_local(fuse(scaled_relu(5), ("i", "c_i")), "i", "b")
    a = np.array([-2, -1, 0, 1, 2], dtype=np.float32)
    np.testing.assert_array_equal(interpret_loops(loops, {"a": a}), np.maximum(2 * a, 0))


def test_a_copy_may_be_laid_out_along_another_dimension() -> None:
    program = transpose(2, 3)
    copied = cache_read(program, None, "a", "copy", Scope.GLOBAL, last=0)
    assert copied.buffer("copy").shape == (2, 3)
    assert copied.buffer("copy").is_copy
    a = np.arange(6, dtype=np.float32).reshape(3, 2)
    np.testing.assert_array_equal(interpret_loops(copied, {"a": a}), interpret_loops(program, {"a": a}))
    assert "copy[copy_1, copy_0] = a[copy_0, copy_1]" in loop_text(copied)


def test_only_what_holds_elements_of_inputs_and_zeros_is_a_copy() -> None:
    padded = cache_read(padded_sum(4), None, "a", "copy", Scope.GLOBAL)
    assert padded.buffer("copy").is_copy
    computed = cache_read(scaled_relu(4), None, "b", "copy", Scope.GLOBAL)
    assert not computed.buffer("copy").is_copy
