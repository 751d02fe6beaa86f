from __future__ import annotations

import numpy as np
import pytest

from search.curves import best_so_far, median_band, median_trials_to_reach, stack_curves, trials_to_reach

NAN = float("nan")


def test_a_curve_keeps_the_best_and_skips_failures() -> None:
    curve = best_so_far([None, 3.0, 5.0, NAN, 2.0, None])
    np.testing.assert_array_equal(curve, [NAN, 3.0, 3.0, 3.0, 2.0, 2.0])


def test_all_failures_give_a_curve_of_nothing() -> None:
    assert np.isnan(best_so_far([None, None])).all()


def test_curves_are_cut_or_continued_to_one_length() -> None:
    stacked = stack_curves([np.array([3.0, 2.0, 1.0]), np.array([4.0]), np.empty(0)], 2)
    np.testing.assert_array_equal(stacked, [[3.0, 2.0], [4.0, 4.0], [NAN, NAN]])


def test_the_band_holds_quantiles_of_real_runs() -> None:
    curves = np.array([[5.0], [1.0], [3.0], [2.0], [4.0]])
    band = median_band(curves)
    assert (band.low.item(), band.median.item(), band.high.item()) == (2.0, 3.0, 4.0)


def test_a_run_that_found_nothing_counts_as_slowest() -> None:
    curves = np.array([[NAN], [1.0], [NAN], [2.0], [3.0]])
    band = median_band(curves)
    assert band.median.item() == 3.0
    assert np.isnan(band.high.item())
    assert np.isnan(median_band(np.array([[NAN], [1.0]])).median.item())


def test_trials_to_reach_counts_from_one_and_may_be_never() -> None:
    curve = np.array([NAN, 3.0, 2.0, 2.0])
    assert trials_to_reach(curve, 2.0) == 3
    assert trials_to_reach(curve, 1.9) is None


def test_the_median_of_trials_counts_a_run_that_never_arrives_as_longest() -> None:
    curves = np.array([[1.0, 1.0, 1.0], [9.0, 1.0, 1.0], [9.0, 9.0, 9.0]])
    assert median_trials_to_reach(curves, 1.0) == 2
    assert median_trials_to_reach(curves[1:], 1.0) is None


def test_impossible_quantiles_and_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="low"):
        median_band(np.ones((2, 2)), low=0.6)
    with pytest.raises(ValueError, match="shape"):
        median_band(np.ones((0, 2)))
