"""Splitting what was split already keeps every iteration, and each once."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from codegen.ir.interpret import interpret_loops
from codegen.schedule.examples import row_sum
from codegen.schedule.primitives import split


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 12), st.integers(1, 7), st.integers(1, 7), st.integers(1, 4))
def test_splits_of_splits_visit_each_iteration_once(
    columns: int, first: int, second: int, third: int
) -> None:
    loops = split(row_sum(2, columns), "k", first, ("k0", "k1"))
    loops = split(loops, "k1", second, ("k2", "k3"))
    loops = split(loops, "k2", third, ("k4", "k5"))
    a = np.arange(2 * columns, dtype=np.float32).reshape(2, columns)
    np.testing.assert_array_equal(interpret_loops(loops, {"a": a}), a.sum(axis=1))
