from __future__ import annotations

import time

import numpy as np
import pytest
from numpy.typing import NDArray

from codegen.schedule.candidates import Candidates
from search.annealer import AnnealConfig, anneal
from tests.search.spaces import KnobSpace, TrueScores

LARGE = KnobSpace(sizes=((8,) * 10, (8,) * 8))
SMALL = KnobSpace()
NOTHING = np.empty(0, np.dtype((np.void, 8)))


class Scaled:
    """The true scores, stretched and shifted."""

    def __init__(self, scale: float, shift: float) -> None:
        self.scale, self.shift = scale, shift

    def score(self, candidates: Candidates) -> NDArray[np.float64]:
        return TrueScores().score(candidates) * self.scale + self.shift


class Counting:
    """Remembers the sizes of the batches it scored."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def score(self, candidates: Candidates) -> NDArray[np.float64]:
        self.sizes.append(len(candidates))
        return TrueScores().score(candidates)


def test_the_best_points_of_a_space_are_found_in_order() -> None:
    found = anneal(
        SMALL, TrueScores(), AnnealConfig(num_steps=200), None, NOTHING, 10, np.random.default_rng(0)
    )
    best = np.sort(TrueScores().score(SMALL.enumerate(10**6)))[::-1][:10]
    np.testing.assert_allclose(found.scores, best)
    np.testing.assert_allclose(TrueScores().score(found.candidates), best)


def test_annealing_beats_random_sampling_of_equal_size() -> None:
    config = AnnealConfig(num_steps=100)
    for seed in range(3):
        found = anneal(LARGE, TrueScores(), config, None, NOTHING, 64, np.random.default_rng(seed))
        drawn = LARGE.sample(128 * 101, np.random.default_rng(seed))
        assert found.scores[-1] > TrueScores().score(drawn).max()


def test_every_step_is_one_batch_over_all_chains() -> None:
    objective = Counting()
    config = AnnealConfig(num_chains=32, num_steps=50)
    anneal(LARGE, objective, config, None, NOTHING, 8, np.random.default_rng(0))
    assert objective.sizes == [32] * 51


@pytest.mark.parametrize(("scale", "shift"), [(2.0**-20, 0.0), (2.0**20, 0.0), (1.0, -(2.0**6))])
def test_scale_and_sign_of_the_scores_do_not_matter(scale: float, shift: float) -> None:
    config = AnnealConfig(num_chains=16, num_steps=30)
    plain = anneal(LARGE, TrueScores(), config, None, NOTHING, 20, np.random.default_rng(1))
    other = anneal(LARGE, Scaled(scale, shift), config, None, NOTHING, 20, np.random.default_rng(1))
    np.testing.assert_array_equal(plain.candidates.keys(), other.candidates.keys())


def test_a_candidate_without_a_finite_score_ranks_last() -> None:
    class HalfBroken:
        def score(self, candidates: Candidates) -> NDArray[np.float64]:
            scores = TrueScores().score(candidates)
            return np.where(
                candidates.positions[:, 0] % 4 == 0,
                np.nan,
                np.where(candidates.positions[:, 0] % 4 == 2, np.inf, scores),
            )

    config = AnnealConfig(num_chains=32, num_steps=60)
    found = anneal(SMALL, HalfBroken(), config, None, NOTHING, 20, np.random.default_rng(1))
    assert np.isfinite(found.scores).all()
    assert (found.candidates.positions[:, 0] % 2 == 1).all()


def test_it_stops_when_the_best_set_stands_still() -> None:
    config = AnnealConfig(num_steps=100_000, patience=20)
    found = anneal(
        KnobSpace(sizes=((3, 3),)), TrueScores(), config, None, NOTHING, 50, np.random.default_rng(0)
    )
    assert found.num_steps <= 40
    assert len(found.candidates) == 9


def test_chains_continue_from_the_state_of_an_earlier_anneal() -> None:
    config = AnnealConfig(num_chains=32, num_steps=60)
    first = anneal(LARGE, TrueScores(), config, None, NOTHING, 8, np.random.default_rng(0))
    still = AnnealConfig(num_chains=32, num_steps=1)
    fresh = anneal(LARGE, TrueScores(), still, None, NOTHING, 8, np.random.default_rng(1))
    continued = anneal(LARGE, TrueScores(), still, first.state, NOTHING, 8, np.random.default_rng(1))
    assert continued.scores.min() > fresh.scores.max()


def test_a_state_of_another_number_of_chains_is_not_used() -> None:
    config = AnnealConfig(num_chains=32, num_steps=2)
    first = anneal(LARGE, TrueScores(), config, None, NOTHING, 8, np.random.default_rng(0))
    wider = AnnealConfig(num_chains=48, num_steps=2)
    after = anneal(LARGE, TrueScores(), wider, first.state, NOTHING, 8, np.random.default_rng(0))
    assert len(after.state.chains) == 48


def test_equal_kernels_are_listed_once() -> None:
    space = KnobSpace(sizes=((2, 6, 6),), has_equal_kernels=True)
    found = anneal(
        space, TrueScores(), AnnealConfig(num_steps=80), None, NOTHING, 500, np.random.default_rng(0)
    )
    assert len(found.candidates) == 36 + 1
    assert len(np.unique(found.candidates.keys())) == 37


def test_a_step_costs_little_beside_mutation_and_score() -> None:
    """The aim is under 300 us; the bound leaves room for a busy machine."""
    spent_s = 0.0

    class TimedSpace(KnobSpace):
        def mutate(self, candidates: Candidates, rng: np.random.Generator) -> Candidates:
            nonlocal spent_s
            start_s = time.process_time()
            mutated = super().mutate(candidates, rng)
            spent_s += time.process_time() - start_s
            return mutated

    class TimedScores(TrueScores):
        def score(self, candidates: Candidates) -> NDArray[np.float64]:
            nonlocal spent_s
            start_s = time.process_time()
            scores = super().score(candidates)
            spent_s += time.process_time() - start_s
            return scores

    config = AnnealConfig(num_steps=200, patience=200)
    space = TimedSpace(sizes=LARGE.sizes)
    begin_s = time.process_time()
    found = anneal(space, TimedScores(), config, None, NOTHING, 192, np.random.default_rng(0))
    overhead_s = time.process_time() - begin_s - spent_s
    assert overhead_s / found.num_steps < 1e-3


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("num_chains", 0),
        ("num_steps", 0),
        ("patience", 0),
        ("list_factor", 0),
        ("start_temperature", -1.0),
        ("end_temperature", 2.0),
        ("end_temperature", float("nan")),
        ("coverage_weight", -0.1),
    ],
)
def test_an_impossible_setting_is_refused_by_name(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=field):
        AnnealConfig(**{field: value})  # type: ignore[arg-type]
