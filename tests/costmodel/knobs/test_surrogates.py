"""Every model of a knob space: what it learns, and what it says of the next trial."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from codegen.schedule.candidates import Candidates
from costmodel.knobs.boosted import BoostedConfig, BoostedTrees
from costmodel.knobs.factors import knob_factors
from costmodel.knobs.features import knob_features
from costmodel.knobs.gaussian_process import GaussianProcess, GaussianProcessConfig
from costmodel.knobs.network import KnobNetwork, KnobNetworkConfig
from costmodel.knobs.surrogate import (
    Surrogate,
    SurrogateModel,
    exponential_quantiles,
    log_expected_improvement,
    normal_scores,
    predicted_gain,
    standardised,
)

Array = NDArray[np.float64]
VALUES = ((1, 2, 4, 8, 16), (1, 2, 4, 8), (0, 1), ("a", "b", "c"))
POSITIONS = np.stack(np.unravel_index(np.arange(120), (5, 4, 2, 3)), axis=1)


class Grid:
    """Points numbered as POSITIONS."""

    def rows(self, candidates: Candidates) -> NDArray[np.int64]:
        return np.ravel_multi_index(tuple(candidates.positions.T), (5, 4, 2, 3)).astype(np.int64)


def candidates(rows: NDArray[np.int64]) -> Candidates:
    return Candidates(np.zeros(len(rows), np.int64), POSITIONS[rows])


def latencies_s() -> Array:
    """Best where the product of the first two is 16."""
    log_product = POSITIONS[:, 0] + POSITIONS[:, 1]
    return 1e-3 * np.exp(0.7 * np.abs(log_product - 4) + 0.3 * POSITIONS[:, 2] + 0.2 * (POSITIONS[:, 3] == 1))


SURROGATES: dict[str, Callable[[], Surrogate]] = {
    "gaussian process": lambda: GaussianProcess(knob_factors(VALUES, POSITIONS), GaussianProcessConfig()),
    "boosted trees": lambda: BoostedTrees(
        knob_features(VALUES, POSITIONS), BoostedConfig(), np.random.default_rng(0)
    ),
    "network": lambda: KnobNetwork(
        POSITIONS, [5, 4, 2, 3], KnobNetworkConfig(num_steps=150), torch.Generator().manual_seed(0)
    ),
}


@pytest.fixture(params=SURROGATES)
def make(request: pytest.FixtureRequest) -> Callable[[], Surrogate]:
    return SURROGATES[request.param]


def test_it_ranks_what_it_has_not_seen(make: Callable[[], Surrogate]) -> None:
    surrogate, rows = make(), np.random.default_rng(1).permutation(120)[:60]
    targets = standardised(normal_scores(latencies_s()))
    surrogate.fit(rows, targets[rows])
    mean, deviation = surrogate.predict()
    others = np.setdiff1d(np.arange(120), rows)
    assert np.corrcoef(mean[others], targets[others])[0, 1] > 0.8
    assert mean.shape == deviation.shape == (120,)
    assert (deviation > 0).all()


def test_the_same_trials_give_the_same_model(make: Callable[[], Surrogate]) -> None:
    found = []
    for _ in range(2):
        model = SurrogateModel(Grid(), make())
        for num in (10, 14, 30):
            rows = np.arange(num) * 3
            model.refit(candidates(rows), latencies_s()[rows], np.zeros(num, np.bool_))
        found.append(model.score(candidates(np.arange(120))))
    np.testing.assert_array_equal(found[0], found[1])


def test_a_search_that_asks_it_finds_the_best_soon(make: Callable[[], Surrogate]) -> None:
    model, rng = SurrogateModel(Grid(), make()), np.random.default_rng(2)
    tried = list(rng.permutation(120)[:10])
    while len(tried) < 40:
        rows = np.array(tried)
        model.refit(candidates(rows), latencies_s()[rows], rows % 11 == 0)
        scores = model.score(candidates(np.arange(120)))
        scores[rows] = -np.inf
        tried += np.argsort(-scores)[:2].tolist()
    fine = [row for row in tried if row % 11]
    assert latencies_s()[fine].min() == latencies_s()[[row for row in range(120) if row % 11]].min()


def test_failures_are_the_worst_and_too_few_trials_say_nothing(make: Callable[[], Surrogate]) -> None:
    model, rows = SurrogateModel(Grid(), make(), num_first=5), np.arange(0, 120, 2)
    assert not model.is_fitted
    model.refit(candidates(rows[:4]), latencies_s()[rows[:4]], np.zeros(4, np.bool_))
    model.refit(candidates(rows), np.full(60, np.nan), np.ones(60, np.bool_))
    assert not model.is_fitted
    np.testing.assert_array_equal(model.score(candidates(rows)), 0)
    failed = POSITIONS[rows, 0] == 4
    model.refit(candidates(rows), np.where(failed, np.nan, latencies_s()[rows]), failed)
    scores = model.score(candidates(np.arange(1, 120, 2)))
    assert scores[POSITIONS[1::2, 0] == 4].max() < np.quantile(scores, 0.8)


def test_what_was_tried_comes_last(make: Callable[[], Surrogate]) -> None:
    model, rows = SurrogateModel(Grid(), make()), np.arange(0, 120, 3)
    model.refit(candidates(rows), latencies_s()[rows], np.zeros(40, np.bool_))
    order = np.argsort(model.score(candidates(np.arange(120))))
    assert set(order[:40].tolist()) == set(rows.tolist())


def test_a_guess_ranks_before_the_first_trial() -> None:
    guess = np.arange(120.0)
    model = SurrogateModel(Grid(), SURROGATES["gaussian process"](), guess)
    assert model.is_fitted
    assert (np.diff(model.score(candidates(np.arange(120)))) < 0).all()


def test_a_guess_in_doubt_is_followed_by_turns_until_the_model_has_learnt() -> None:
    guess = np.arange(120.0)
    for is_doubtful, expected in ((False, [True] * 7), (True, [True, False, True, False, True, False, True])):
        model, informed = SurrogateModel(Grid(), SURROGATES["gaussian process"](), guess, is_doubtful), []
        for num in range(7):
            model.refit(candidates(np.arange(num)), latencies_s()[:num], np.zeros(num, np.bool_))
            informed.append(model.is_fitted)
            if num < 6 and model.is_fitted:
                assert np.argmax(model.score(candidates(np.arange(120)))) == 0
        assert informed == expected


def test_what_a_trial_is_worth_may_be_told_otherwise(make: Callable[[], Surrogate]) -> None:
    surrogate, rows = make(), np.arange(0, 120, 3)
    model = SurrogateModel(Grid(), surrogate, promise=predicted_gain)
    model.refit(candidates(rows), latencies_s()[rows], np.zeros(40, np.bool_))
    mean, _ = surrogate.predict()
    untried = np.setdiff1d(np.arange(120), rows)
    assert mean[untried[model.score(candidates(untried)).argmax()]] == mean[untried].min()


def test_features_are_logarithms_in_a_unit_range() -> None:
    rows = knob_features(VALUES, POSITIONS)
    assert rows.shape == (120, 2 + 1 + 3)
    assert (rows.min(), rows.max()) == (0.0, 1.0)
    np.testing.assert_allclose(rows[:, 0], POSITIONS[:, 0] / 4)
    assert knob_features(((1,),), np.zeros((3, 1), np.int64)).shape == (3, 1)
    with_zero = knob_features(((0, 1, 3),), np.arange(3)[:, None])
    np.testing.assert_allclose(with_zero[:, 0], [0, 0.5, 1])


def test_expected_improvement_is_what_sampling_says_and_goes_on_where_it_underflows() -> None:
    draws = np.random.default_rng(3).normal(0.3, 0.5, 400_000)
    sampled = np.log(np.maximum(0.1 - draws, 0).mean())
    found = log_expected_improvement(np.array([0.3]), np.array([0.5]), 0.1)
    np.testing.assert_allclose(found, sampled, atol=0.01)
    far = log_expected_improvement(np.linspace(5, 60, 200), np.ones(200), 0.0)
    assert np.isfinite(far).all()
    assert (np.diff(far) < 0).all()


def test_quantiles_depend_on_ranks_alone() -> None:
    values = np.array([3.0, -1e9, 4.0, 1e9])
    scores = exponential_quantiles(values)
    assert scores[1] < scores[0] < scores[2] < scores[3]
    np.testing.assert_array_equal(scores, exponential_quantiles(np.array([0.0, -1.0, 1.0, 2.0])))
    np.testing.assert_allclose(normal_scores(np.array([1.0, 2.0, 3.0]))[1], 0, atol=1e-12)
