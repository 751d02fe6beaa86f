from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codegen.schedule.candidates import Candidates
from search.selection import select_diverse
from tests.search.spaces import KnobSpace, TrueScores


def objective(candidates: Candidates, scores: np.ndarray, coverage_weight: float) -> float:
    """The paper's sum, written out."""
    standard = (scores - scores.mean()) / scores.std()
    rows = list(zip(candidates.sketches.tolist(), candidates.positions.tolist(), strict=True))
    sketches = {sketch for sketch, _ in rows}
    knobs = {(sketch, j, value) for sketch, values in rows for j, value in enumerate(values)}
    return float(standard.sum()) + coverage_weight * (len(sketches) + len(knobs))


def slow_greedy(candidates: Candidates, scores: np.ndarray, num: int, weight: float) -> list[int]:
    standard = (scores - scores.mean()) / scores.std()
    covered: set[object] = set()
    picks: list[int] = []
    for _ in range(num):
        gains = []
        for row in range(len(candidates)):
            sketch = int(candidates.sketches[row])
            values = {sketch} | {(sketch, j, int(v)) for j, v in enumerate(candidates.positions[row])}
            gains.append(-np.inf if row in picks else standard[row] + weight * len(values - covered))
        best = int(np.argmax(gains))
        picks.append(best)
        sketch = int(candidates.sketches[best])
        covered |= {sketch} | {(sketch, j, int(v)) for j, v in enumerate(candidates.positions[best])}
    return picks


@settings(deadline=None, max_examples=30, derandomize=True)
@given(seed=st.integers(0, 10**6), num=st.integers(1, 12), weight=st.sampled_from([0.0, 0.1, 1.0]))
def test_picks_equal_those_of_the_greedy_written_out(seed: int, num: int, weight: float) -> None:
    candidates = KnobSpace().sample(12, np.random.default_rng(seed))
    scores = TrueScores().score(candidates)
    # Rounding may order equal gains either way, so gains are compared through a grid of exact values.
    scores = np.round(scores * 64) / 64 + np.arange(12) * 1e-3
    assert select_diverse(candidates, scores, num, weight).tolist() == slow_greedy(
        candidates, scores, num, weight
    )


def test_without_weight_the_best_scores_win() -> None:
    candidates = KnobSpace().sample(50, np.random.default_rng(0))
    scores = np.random.default_rng(1).permutation(50) - 60.0
    np.testing.assert_array_equal(select_diverse(candidates, scores, 7, 0.0), np.argsort(-scores)[:7])


def test_with_weight_more_knob_values_are_covered() -> None:
    candidates = KnobSpace().sample(200, np.random.default_rng(0))
    scores = TrueScores().score(candidates)
    covered = [
        sum(
            len(np.unique(column))
            for column in candidates[select_diverse(candidates, scores, 10, w)].positions.T
        )
        for w in (0.0, 1.0)
    ]
    assert covered[1] > covered[0]


def test_equal_candidates_add_no_coverage() -> None:
    candidates = Candidates(np.zeros(3, np.int64), np.array([[1, 1], [1, 1], [2, 2]]))
    picks = select_diverse(candidates, np.array([0.2, 0.1, 0.0]), 2, 5.0)
    assert picks.tolist() == [0, 2]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_not_finite_is_picked_last(value: float) -> None:
    candidates = KnobSpace().sample(5, np.random.default_rng(0))
    scores = np.array([-3.0, value, -1.0, value, -2.0])
    picks = select_diverse(candidates, scores, 5, 1.0).tolist()
    assert sorted(picks[3:]) == [1, 3]


@pytest.mark.parametrize("scores", [np.full(6, np.nan), np.full(6, -7.0)])
def test_scores_that_say_nothing_still_give_a_full_batch(scores: np.ndarray) -> None:
    candidates = KnobSpace().sample(6, np.random.default_rng(0))
    assert sorted(select_diverse(candidates, scores, 6, 0.1).tolist()) == list(range(6))


def test_more_than_there_are_gives_all_and_none_gives_none() -> None:
    candidates = KnobSpace().sample(4, np.random.default_rng(0))
    assert len(select_diverse(candidates, np.arange(4.0), 9, 0.1)) == 4
    assert len(select_diverse(candidates[:0], np.empty(0), 9, 0.1)) == 0
