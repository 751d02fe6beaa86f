from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import check_grad

from costmodel.knobs.gaussian_process import GaussianProcess, GaussianProcessConfig

Array = NDArray[np.float64]


def landscape(num: int = 300, seed: int = 0) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    features = rng.random((num, 4))
    targets = np.sin(5 * features[:, 0]) + 2 * features[:, 1] * features[:, 2]
    return features, (targets - targets.mean()) / targets.std()


def test_it_learns_a_smooth_landscape_and_knows_where_it_is_sure() -> None:
    features, targets = landscape()
    process = GaussianProcess(features, GaussianProcessConfig())
    rows = np.random.default_rng(1).permutation(300)[:60]
    process.fit(rows, targets[rows])
    mean, deviation = process.predict()
    others = np.setdiff1d(np.arange(300), rows)
    assert np.corrcoef(mean[others], targets[others])[0, 1] > 0.95
    assert deviation[rows].max() < np.median(deviation[others])
    misses = np.abs(mean - targets)[others] / deviation[others]
    assert np.mean(misses < 2) > 0.85


def test_growing_by_one_trial_equals_solving_anew() -> None:
    features, targets = landscape()
    rows = np.random.default_rng(2).permutation(300)[:40]
    grown = GaussianProcess(features, GaussianProcessConfig(growth=100.0))
    for num in (20, 21, 25, 40):
        grown.fit(rows[:num], targets[rows[:num]])
    whole = GaussianProcess(features, GaussianProcessConfig(growth=100.0))
    whole.fit(rows[:20], targets[rows[:20]])
    whole._rows = np.zeros(0, np.int64)
    whole._restart(rows)
    whole.fit(rows, targets[rows])
    for left, right in zip(grown.predict(), whole.predict(), strict=True):
        np.testing.assert_allclose(left, right, atol=1e-3)


def test_other_trials_than_before_start_anew() -> None:
    features, targets = landscape()
    process = GaussianProcess(features, GaussianProcessConfig())
    process.fit(np.arange(20), targets[:20])
    process.fit(np.arange(100, 120), targets[100:120])
    mean, _ = process.predict()
    np.testing.assert_allclose(mean[100:120], targets[100:120], atol=0.3)


def test_the_gradient_of_the_loss_is_its_gradient() -> None:
    features, targets = landscape(30)
    priors = np.random.default_rng(3).normal(size=(30, 2))
    process = GaussianProcess(features, GaussianProcessConfig(), priors)
    points = process._features
    squares = ((points[:, None] - points[None]) ** 2).transpose(2, 0, 1)
    lines = priors.T[:, :, None] * priors.T[:, None, :]
    for seed in range(3):
        start = np.random.default_rng(seed).normal(0, 0.5, len(process._hyper))
        error = check_grad(
            lambda x: process._loss(x, squares, lines, targets)[0],
            lambda x: process._loss(x, squares, lines, targets)[1],
            start,
        )
        assert error < 1e-3


def test_a_prior_that_knows_the_landscape_is_followed_at_once() -> None:
    features, targets = landscape()
    errors = []
    for priors in (None, (targets + np.random.default_rng(4).normal(0, 0.05, 300))[:, None]):
        process = GaussianProcess(features, GaussianProcessConfig(), priors)
        process.fit(np.arange(10), targets[:10])
        errors.append(float(np.abs(process.predict()[0] - targets).mean()))
    assert errors[1] < 0.5 * errors[0]


def test_equal_targets_and_repeated_features_do_no_harm() -> None:
    process = GaussianProcess(np.zeros((5, 2)), GaussianProcessConfig())
    process.fit(np.arange(5), np.zeros(5))
    mean, deviation = process.predict()
    np.testing.assert_allclose(mean, 0, atol=1e-9)
    assert (deviation > 0).all()


def test_a_mistaken_setting_is_named() -> None:
    with pytest.raises(ValueError, match="growth > 1"):
        GaussianProcessConfig(growth=1.0)
