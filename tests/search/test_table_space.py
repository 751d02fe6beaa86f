from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from search.constraints import Condition, Constraint, constrained_space, integer_knob
from search.table_space import JUMP, Knob, TableSpace

KNOBS = (Knob("block", (16, 32, 64, 128)), Knob("tile", (1, 2, 4, 8)), Knob("kind", ("a", "b", "c"), False))
SMALL_BLOCKS = Constraint(("block", "tile"), lambda values: values["block"] * values["tile"] <= 128)


def space() -> TableSpace:
    return constrained_space(KNOBS, [SMALL_BLOCKS])


def test_the_points_are_those_that_the_constraints_allow() -> None:
    allowed = [
        {"block": block, "tile": tile, "kind": kind}
        for block in (16, 32, 64, 128)
        for tile in (1, 2, 4, 8)
        for kind in "abc"
        if block * tile <= 128
    ]
    found = space()
    points = found.enumerate(found.count())
    assert [found.named(points, row) for row in range(len(points))] == allowed


def test_sampling_is_uniform_over_the_allowed_points() -> None:
    found = space()
    drawn = found.rows(found.sample(30_000, np.random.default_rng(0)))
    counts = np.bincount(drawn, minlength=found.count())
    expected = 30_000 / found.count()
    assert ((counts - expected) ** 2 / expected).sum() < 70  # chi-squared, 29 degrees of freedom, p = 3e-5


def test_a_neighbour_is_allowed_and_differs_in_one_knob_by_one_allowed_value() -> None:
    found, rng = space(), np.random.default_rng(1)
    start = found.sample(20_000, rng)
    moved = found.mutate(start, rng)
    found.rows(moved)  # or it raises
    differs = moved.positions != start.positions
    is_local = differs.sum(axis=1) == 1
    assert is_local.mean() > 1 - 1.1 * JUMP
    step = np.abs(moved.positions - start.positions)[:, :2][is_local]
    assert (step > 1).mean() < 0.2 * JUMP  # a few of the jumps end on the same line
    kinds = Counter(np.abs(moved.positions - start.positions)[is_local, 2].tolist())
    assert kinds[2] > 0  # an unordered knob goes anywhere


def test_every_point_is_within_reach_of_every_other() -> None:
    found, rng = space(), np.random.default_rng(2)
    here = found.enumerate(1)
    seen: set[int] = set()
    for _ in range(3_000):
        here = found.mutate(here, rng)
        seen.add(int(found.rows(here)[0]))
    assert len(seen) == found.count()


def test_a_point_without_neighbours_jumps() -> None:
    found = TableSpace([Knob("a", (0, 1)), Knob("b", (0, 1))], np.array([[0, 0], [1, 1]]))
    moved = found.mutate(found.candidates(np.zeros(200, np.int64)), np.random.default_rng(0))
    assert set(found.rows(moved).tolist()) == {0, 1}


@given(st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_the_nearest_point_is_nearest(num_columns: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    positions = np.unique(rng.integers(0, 5, (12, num_columns)), axis=0)
    found = TableSpace([Knob(f"k{c}", tuple(range(5))) for c in range(num_columns)], positions)
    asked = rng.uniform(-1, 6, (7, num_columns))
    nearest = found.nearest(np.zeros(7, np.int64), np.rint(asked))
    distance = np.abs(np.rint(asked)[:, None] - positions).sum(axis=2)
    np.testing.assert_array_equal(
        np.abs(np.rint(asked) - nearest.positions).sum(axis=1), distance.min(axis=1)
    )


def test_points_go_out_by_name_and_come_back() -> None:
    found = space()
    points = found.enumerate(found.count())
    named = [found.named(points, row) for row in range(len(points))]
    np.testing.assert_array_equal(found.decode(named).keys(), points.keys())
    with pytest.raises(ValueError, match=r"block must be one of \(16, 32, 64, 128\), got 7"):
        found.decode([{"block": 7, "tile": 1, "kind": "a"}])
    with pytest.raises(ValueError, match="not a point of the space"):
        found.decode([{"block": 128, "tile": 8, "kind": "a"}])
    with pytest.raises(ValueError, match="knobs must be block, tile, kind"):
        found.decode([{"block": 16}])


def test_a_conditional_knob_has_one_value_where_it_does_not_matter() -> None:
    def is_on(values: dict[str, NDArray[np.int64]]) -> NDArray[np.bool_]:
        return values["uses_cache"] == 1

    knobs = [integer_knob("uses_cache", 0, 1), integer_knob("cache_size", 4, 16, 4)]
    found = constrained_space(knobs, conditions=[Condition("cache_size", ("uses_cache",), is_on)])  # type: ignore[arg-type]
    assert found.positions.tolist() == [[0, 0], [1, 0], [1, 1], [1, 2], [1, 3]]


def test_words_and_numbers_of_a_knob_stay_what_they_are() -> None:
    knobs = [Knob("a", (0, 1, "auto")), integer_knob("b", 1, 3)]
    found = constrained_space(knobs, [Constraint(("a",), lambda values: values["a"] != 0)])
    assert found.count() == 6
    found = constrained_space(knobs, [Constraint(("a", "b"), lambda v: (v["a"] == "auto") | (v["b"] == 2))])
    assert found.count() == 5


def test_what_does_not_say_true_or_false_of_each_point_is_refused() -> None:
    knobs = [integer_knob("a", 0, 2), integer_knob("b", 1, 4)]
    told = {
        "int64 of shape (12,)": lambda values: values["a"] * values["b"],
        "bool of shape ()": lambda values: True,
        "bool of shape (3,)": lambda values: np.ones(3, np.bool_),
        "object of shape ()": lambda values: None,
    }
    for words, test in told.items():
        expected = re.escape(f"on a, b says must be booleans of shape (12,), got {words}")
        with pytest.raises(ValueError, match=expected):
            constrained_space(knobs, [Constraint(("a", "b"), test)])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="on a says must be booleans"):
        constrained_space(knobs, conditions=[Condition("b", ("a",), lambda values: values["a"])])


def test_mistakes_are_named() -> None:
    def nothing(values: object) -> NDArray[np.bool_]:
        return np.zeros(12, np.bool_)

    knobs = [integer_knob("a", 1, 3), integer_knob("b", 1, 4)]
    with pytest.raises(ValueError, match="no values of a, b satisfy the constraints"):
        constrained_space(knobs, [Constraint(("a", "b"), nothing)])
    with pytest.raises(ValueError, match=r"name \['c'\]; the knobs are \['a', 'b'\]"):
        constrained_space(knobs, [Constraint(("c",), nothing)])
    with pytest.raises(ValueError, match="more than 5 points up to knob b"):
        constrained_space(knobs, limit=5)
    with pytest.raises(ValueError, match="knobs with different names"):
        constrained_space([])
    with pytest.raises(ValueError, match="low <= high"):
        integer_knob("a", 3, 1)
    with pytest.raises(ValueError, match="has no values"):
        Knob("a", ())
    with pytest.raises(ValueError, match="equal values"):
        Knob("a", (1, 1))
    with pytest.raises(ValueError, match="the space is empty"):
        TableSpace(knobs, np.zeros((0, 2), np.int64))
    with pytest.raises(ValueError, match="some rows are equal"):
        TableSpace(knobs, np.zeros((2, 2), np.int64))
    with pytest.raises(ValueError, match="positions must be in"):
        TableSpace(knobs, np.array([[3, 0]]))
