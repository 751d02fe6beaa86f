from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import check_grad

from costmodel.knobs.factors import Factor, knob_factors
from costmodel.knobs.gaussian_process import GaussianProcess, GaussianProcessConfig
from costmodel.knobs.guess import Guess
from costmodel.knobs.surrogate import normal_scores

Array = NDArray[np.float64]


VALUES = tuple(tuple(range(1, 13)) for _ in range(4))


def landscape(num: int = 300, seed: int = 0) -> tuple[list[Factor], Array]:
    rng = np.random.default_rng(seed)
    positions = np.stack(np.unravel_index(rng.choice(12**4, num, replace=False), (12,) * 4), axis=1)
    knobs = positions / 11
    targets = np.sin(5 * knobs[:, 0]) + 2 * knobs[:, 1] * knobs[:, 2]
    return knob_factors(VALUES, positions), (targets - targets.mean()) / targets.std()


def sure(scores: Array) -> Guess:
    """All records of a source."""
    return Guess(scores, (np.arange(len(scores)), scores))


def test_it_learns_a_smooth_landscape_and_knows_where_it_is_sure() -> None:
    factors, targets = landscape()
    process = GaussianProcess(factors, GaussianProcessConfig())
    rows = np.random.default_rng(1).permutation(300)[:60]
    process.fit(rows, targets[rows])
    mean, deviation = process.predict()
    others = np.setdiff1d(np.arange(300), rows)
    assert np.corrcoef(mean[others], targets[others])[0, 1] > 0.95
    assert deviation[rows].max() < np.median(deviation[others])
    misses = np.abs(mean - targets)[others] / deviation[others]
    assert np.mean(misses < 2) > 0.85


def test_growing_by_one_trial_equals_solving_anew() -> None:
    factors, targets = landscape()
    rows = np.random.default_rng(2).permutation(300)[:40]
    grown = GaussianProcess(factors, GaussianProcessConfig(growth=100.0))
    for num in (20, 21, 25, 40):
        grown.fit(rows[:num], targets[rows[:num]])
    whole = GaussianProcess(factors, GaussianProcessConfig(growth=100.0))
    whole.fit(rows[:20], targets[rows[:20]])
    whole._rows = np.zeros(0, np.int64)
    whole._restart(rows)
    whole.fit(rows, targets[rows])
    for left, right in zip(grown.predict(), whole.predict(), strict=True):
        np.testing.assert_allclose(left, right, atol=1e-3)


def test_other_trials_than_before_start_anew() -> None:
    factors, targets = landscape()
    process = GaussianProcess(factors, GaussianProcessConfig())
    process.fit(np.arange(20), targets[:20])
    process.fit(np.arange(100, 120), targets[100:120])
    mean, _ = process.predict()
    np.testing.assert_allclose(mean[100:120], targets[100:120], atol=0.3)


def test_the_gradient_of_the_loss_is_its_gradient() -> None:
    factors, targets = landscape(30)
    guesses = [sure(column) for column in np.random.default_rng(3).normal(size=(2, 30))]
    process = GaussianProcess(factors, GaussianProcessConfig(), guesses)
    rows = np.arange(30)
    products = [guess.products(rows, rows) for guess in guesses]
    for seed in range(3):
        start = np.random.default_rng(seed).normal(0, 0.5, len(process._hyper))
        error = check_grad(
            lambda x: process._loss(x, rows, targets, products)[0],
            lambda x: process._loss(x, rows, targets, products)[1],
            start,
        )
        assert error < 1e-3


def test_a_guess_that_knows_the_landscape_is_followed_at_once() -> None:
    factors, targets = landscape()
    errors = []
    for guesses in ([], [sure(targets + np.random.default_rng(4).normal(0, 0.05, 300))]):
        process = GaussianProcess(factors, GaussianProcessConfig(), guesses)
        process.fit(np.arange(10), targets[:10])
        errors.append(float(np.abs(process.predict()[0] - targets).mean()))
    assert errors[1] < 0.5 * errors[0]


def test_what_the_knobs_do_not_say_makes_untried_points_unsure() -> None:
    factors, targets = landscape()
    rows = np.arange(150)
    deviations = []
    for peculiar in (0.0, 0.7):
        jagged = targets + peculiar * np.random.default_rng(6).normal(size=300)
        process = GaussianProcess(factors, GaussianProcessConfig())
        process.fit(rows, (jagged[rows] - jagged[rows].mean()) / jagged[rows].std())
        deviations.append(process.predict()[1])
    assert deviations[1].min() > 3 * deviations[0].min()


def test_a_guess_says_which_knobs_matter() -> None:
    factors, _ = landscape()
    guess = sure(normal_scores(factors[1].places.astype(np.float64)))
    process = GaussianProcess(factors, GaussianProcessConfig(), [guess])
    # A heavy weight and a short length both let a knob tell points apart.
    tables = process._kernel.tables(process._mean[: len(process._kernel.mean)])
    apart = [1.0 - table[0, -1] for table in tables[:4]]
    assert apart[1] > 1.5 * max(apart[0], apart[2], apart[3])


def test_a_guess_that_lacks_knobs_does_not_say_that_they_do_not_matter() -> None:
    factors, _ = landscape()
    guess = sure(normal_scores(factors[1].places.astype(np.float64)))
    plain = GaussianProcess(factors, GaussianProcessConfig())
    process = GaussianProcess(factors, GaussianProcessConfig(), [guess], learns_kernel=False)
    num = len(plain._kernel.mean)
    np.testing.assert_array_equal(process._mean[:num], plain._mean[:num])


class Unsure:
    """A guess that may be wrong anywhere, at each point by itself."""

    def __init__(self, variance: Array) -> None:
        self._variance = variance

    def variance(self) -> Array:
        return self._variance

    def covariance(self, rows: NDArray[np.int64], columns: NDArray[np.int64] | slice) -> Array:
        covariance: Array = np.diag(self._variance)[rows][:, columns]
        return covariance


def test_a_guess_in_doubt_leaves_untried_points_unsure_where_the_doubt_is() -> None:
    factors, targets = landscape()
    rows, others = np.arange(100), np.arange(100, 300)
    variance = np.where(np.arange(300) % 2 == 0, 1.0, 0.0)
    guess = Guess(targets, (np.arange(300), targets), Unsure(variance))
    process = GaussianProcess(factors, GaussianProcessConfig(), [guess])
    process.fit(rows, targets[rows])
    _, deviation = process.predict()
    assert deviation[others[variance[others] > 0]].min() > deviation[others[variance[others] == 0]].max()


def test_a_source_without_a_record_in_the_space_teaches_no_kernel() -> None:
    factors, targets = landscape()
    plain = GaussianProcess(factors, GaussianProcessConfig())
    process = GaussianProcess(
        factors, GaussianProcessConfig(), [Guess(targets, (np.zeros(0, np.int64), np.zeros(0)))]
    )
    num = len(plain._kernel.mean)
    np.testing.assert_array_equal(process._mean[:num], plain._mean[:num])


def test_equal_targets_and_repeated_features_do_no_harm() -> None:
    process = GaussianProcess(
        knob_factors([(1,), ("a",)], np.zeros((5, 2), np.int64)), GaussianProcessConfig()
    )
    process.fit(np.arange(5), np.zeros(5))
    mean, deviation = process.predict()
    np.testing.assert_allclose(mean, 0, atol=1e-9)
    assert (deviation > 0).all()


def test_a_mistaken_setting_is_named() -> None:
    with pytest.raises(ValueError, match="growth > 1"):
        GaussianProcessConfig(growth=1.0)
