from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from search.scoring import (
    chance_of_no_lead,
    expected_random,
    found_curves,
    interval,
    performance,
    random_budget,
    run_scores,
    tells_searches_apart,
)

TIMES_S = np.array([3.0, np.nan, 1.0, 5.0, np.nan, 2.0])


def test_random_search_is_expected_as_all_orders_say() -> None:
    orders = [TIMES_S[list(order)] for order in permutations(range(6))]
    exact = found_curves(orders, TIMES_S, 6).mean(axis=0)
    np.testing.assert_allclose(expected_random(TIMES_S, 6), exact, rtol=1e-12)


def test_a_large_space_does_not_overflow() -> None:
    times_s = np.arange(1.0, 20_001.0)
    expected = expected_random(times_s, 400)
    np.testing.assert_allclose(expected, 20_001 / (np.arange(1, 401) + 1), rtol=1e-9)


def test_random_search_scores_0_and_the_optimum_1() -> None:
    times_s = np.random.default_rng(0).lognormal(size=500)
    orders = [np.random.default_rng(seed).permutation(times_s)[:100] for seed in range(2_000)]
    scores = run_scores(found_curves(orders, times_s, 100), times_s)
    assert abs(scores.mean()) < 0.05
    perfect = np.full((1, 100), times_s.min())
    np.testing.assert_allclose(run_scores(perfect, times_s), 1.0)
    stuck = np.full((1, 100), times_s.max())
    assert run_scores(stuck, times_s)[0] < 0


def test_a_run_without_success_counts_as_the_slowest_configuration() -> None:
    curves = found_curves([np.array([np.nan, np.nan, 2.0])], TIMES_S, 4)
    assert curves.tolist() == [[5.0, 5.0, 2.0, 2.0]]


def test_trials_where_random_search_has_the_optimum_do_not_count() -> None:
    times_s = np.arange(1.0, 21.0)
    curves = np.ones((1, 20))
    assert np.isnan(performance(curves, times_s)[0, -1])
    assert run_scores(curves, times_s)[0] == 1.0
    with pytest.raises(ValueError, match="trials 20 to 400 tell nothing"):
        run_scores(curves, times_s, first=20)


@pytest.mark.parametrize(("num", "tells"), [(9, False), (10, False), (11, True), (50, True)])
def test_a_space_that_random_search_exhausts_before_scores_begin_tells_nothing(num: int, tells: bool) -> None:
    assert tells_searches_apart(np.arange(1.0, num + 1.0)) is tells
    assert not tells_searches_apart(np.ones(num))


def test_the_budget_is_where_random_search_has_gone_95_percent_of_the_way() -> None:
    times_s = np.random.default_rng(1).lognormal(size=1_000)
    budget = random_budget(times_s)
    goal = times_s.min() + 0.05 * (np.median(times_s) - times_s.min())
    expected = expected_random(times_s, budget)
    assert expected[-1] <= goal < expected[-2]


def test_a_lead_is_told_from_luck() -> None:
    rng = np.random.default_rng(2)
    low, high = rng.normal(0.5, 0.1, 30), rng.normal(0.7, 0.1, 30)
    assert chance_of_no_lead(high, low, rng) < 0.001
    assert chance_of_no_lead(low, high, rng) > 0.999
    assert chance_of_no_lead(low, rng.permutation(low), rng) > 0.3
    bounds = interval(low, rng)
    assert bounds[0] < low.mean() < bounds[1] < bounds[0] + 0.12


def test_what_cannot_be_scored_is_named() -> None:
    with pytest.raises(ValueError, match="all 3 configurations failed"):
        expected_random(np.full(3, np.nan), 2)
    with pytest.raises(ValueError, match=r"num_trials must be in \[1, 6\], got 7"):
        expected_random(TIMES_S, 7)
