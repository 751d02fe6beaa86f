"""Groups of knobs hold the allowed combinations; equal kernels of a small space are recognised."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from codegen.ir.text import nodes_text
from codegen.ops import LayerNorm, Operator, Reduce, Softmax
from codegen.schedule import build_space
from codegen.schedule.sketch import Knob, constrained
from tests.targets import make_target


def test_constraints_keep_the_order_of_all_combinations_and_extend_no_refused_one() -> None:
    knobs = tuple(Knob(name, (1, 2, 3, 5, 8)) for name in "abc")
    refused: list[tuple[int, ...]] = []

    def is_small(values: tuple[int, ...]) -> bool:
        assert not any(values[: len(start)] == start for start in refused)
        if math.prod(values) > 12:
            refused.append(values)
        return math.prod(values) <= 12

    rows = constrained(knobs, is_small).rows
    everything = itertools.product(range(5), repeat=3)
    expected = [row for row in everything if math.prod((1, 2, 3, 5, 8)[p] for p in row) <= 12]
    np.testing.assert_array_equal(rows, expected)


@pytest.mark.parametrize(
    "operator", [Softmax(rows=6, cols=10), LayerNorm(rows=3, cols=7), Reduce(rows=5, cols=9)]
)
def test_canonical_candidates_of_rows_are_as_many_as_their_kernels(operator: Operator) -> None:
    space = build_space(operator.program(), make_target(16, 32))
    canonical = space.canonical(space.enumerate(10**4))
    kernels = {nodes_text(space.lower(canonical, row).body) for row in range(len(canonical))}
    assert len(np.unique(canonical.keys())) == len(kernels)
