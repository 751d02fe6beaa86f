"""Recorded spaces through the tuning loop, and the traps that searches are known to fall into."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from codegen.schedule.candidates import Candidates
from search.annealer import AnnealConfig, Annealer, rank_whole
from search.arms import PlanConfig
from search.differential_evolution import DifferentialEvolution, DifferentialEvolutionConfig
from search.genetic import GeneticConfig, GeneticSearch
from search.local_search import LocalSearch, LocalSearchConfig
from search.measured_annealing import MeasuredAnnealing, MeasuredAnnealingConfig
from search.protocols import Searcher, Space
from search.random_search import RandomSearch
from search.replay import Replay
from search.trials import TuneConfig
from search.tuner import TuneResult, tune
from tests.search.recorded import replay, table_space

SEARCHERS: dict[str, Callable[[Space], Searcher]] = {
    "random": RandomSearch,
    "genetic": lambda space: GeneticSearch(space, GeneticConfig(population=8)),
    "local": lambda space: LocalSearch(space, LocalSearchConfig()),
    "evolution": lambda space: DifferentialEvolution(space, DifferentialEvolutionConfig(population=8)),
    "annealing": lambda space: MeasuredAnnealing(space, MeasuredAnnealingConfig(horizon=60)),
}


@pytest.fixture(params=SEARCHERS)
def build(request: pytest.FixtureRequest) -> Callable[[Space], Searcher]:
    return SEARCHERS[request.param]


def run(build: Callable[[Space], Searcher], on: Replay, seed: int = 0, **budget: float | None) -> TuneResult:
    config = TuneConfig(plan=PlanConfig(num_trials=4, epsilon=0.0), **({"num_trials": 80} | budget))  # type: ignore[arg-type]
    rng = np.random.default_rng(seed)
    return tune(on.space, build(on.space), on, None, config, rng, clock=on.clock)


def test_no_configuration_is_tried_twice(build: Callable[[Space], Searcher]) -> None:
    found = run(build, replay(table_space()), num_trials=300)
    assert len(np.unique(found.candidates.keys())) == len(found.history) == 300


@pytest.mark.parametrize("name", [name for name in SEARCHERS if name != "random"])
def test_a_search_that_learns_from_trials_beats_random_search(name: str) -> None:
    def bests(build: Callable[[Space], Searcher]) -> list[float]:
        results = [run(build, replay(table_space()), seed) for seed in range(12)]
        return [result.best_latency_s for result in results if result.best_latency_s is not None]

    assert np.mean(bests(SEARCHERS[name])) < np.mean(bests(RandomSearch))


def test_a_space_smaller_than_the_plan_ends_the_run(build: Callable[[Space], Searcher]) -> None:
    found = run(build, replay(table_space((3,)), fails_one_in=None))
    assert (len(found.history), found.stop_reason) == (3, "exhausted")


def test_a_search_in_which_all_trials_fail_ends_in_order(build: Callable[[Space], Searcher]) -> None:
    found = run(build, replay(table_space(), fails_one_in=1))
    assert len(found.history) == 80
    assert found.best_latency_s is None


def test_one_slow_candidate_eats_its_time_and_no_more(build: Callable[[Space], Searcher]) -> None:
    on = replay(table_space(), fails_one_in=None, cost_s=1.0)
    on.costs_s[::10] = 50.0
    found = run(build, on, num_trials=None, max_elapsed_s=120.0)
    assert found.stop_reason == "seconds"
    elapsed_s = np.array([trial.elapsed_s for trial in found.history])
    assert elapsed_s[-2] < 120 <= elapsed_s[-1]
    rows = on.space.rows(found.candidates)
    np.testing.assert_allclose(elapsed_s, np.cumsum(on.costs_s[rows]))


def test_failures_cost_trials_and_time() -> None:
    on = replay(table_space(), fails_one_in=2, cost_s=2.0)
    found = run(RandomSearch, on, num_trials=50)
    failed = [trial for trial in found.history if trial.status == "runtime"]
    assert len(failed) > 10
    assert found.history[-1].elapsed_s == on.elapsed_s == 100.0


def test_the_last_trials_of_a_space_are_found(build: Callable[[Space], Searcher]) -> None:
    on = replay(table_space())
    found = run(build, on, num_trials=10_000)
    assert len(found.history) == on.space.count()
    assert found.best_latency_s == np.nanmin(on.times_s)


class Peculiar:
    """Negative scores, with NaN and infinities among them."""

    def score(self, candidates: Candidates) -> NDArray[np.float64]:
        scores = -100.0 - candidates.positions.sum(axis=1).astype(np.float64)
        scores[candidates.positions[:, 0] == 2] = np.nan
        scores[candidates.positions[:, 0] == 3] = np.inf
        return scores


@pytest.mark.parametrize("limit", [0, 10_000])
def test_negative_scores_rank_and_what_is_not_finite_comes_last(limit: int) -> None:
    space = table_space()
    config = AnnealConfig(num_chains=64, num_steps=100, rank_whole_limit=limit, coverage_weight=0.0)
    measured = space.enumerate(5)
    annealer = Annealer(space, Peculiar(), config)
    proposed = annealer.propose(10, measured.keys(), np.random.default_rng(0))
    scores = Peculiar().score(space.candidates(np.arange(5, len(space))))
    best = np.sort(scores[np.isfinite(scores)])[::-1][:10]
    np.testing.assert_array_equal(Peculiar().score(proposed), best)


def test_a_whole_space_is_ranked_to_its_last_point() -> None:
    space = table_space()
    best = rank_whole(space, Peculiar(), space.enumerate(3).keys(), len(space))
    assert len(best.candidates) == len(space) - 3


def test_a_replay_needs_an_outcome_for_every_point() -> None:
    with pytest.raises(ValueError, match="3 points need as many times"):
        Replay(table_space((3,)), np.ones(2), [None] * 3, np.ones(3))


@pytest.mark.parametrize(
    ("config", "values", "words"),
    [
        (GeneticConfig, {"population": 1}, "population must be at least 2"),
        (GeneticConfig, {"mutation_chance": 1.0}, "mutation_chance must be in"),
        (LocalSearchConfig, {"patience": 0}, "patience must be at least 1"),
        (DifferentialEvolutionConfig, {"population": 3}, "population must be at least 4"),
        (DifferentialEvolutionConfig, {"weight": 0.0}, "weight must be positive"),
        (MeasuredAnnealingConfig, {"num_chains": 0}, "num_chains and horizon"),
        (MeasuredAnnealingConfig, {"start_temperature": 0.0}, "end_temperature <= start_temperature"),
        (AnnealConfig, {"rank_whole_limit": -1}, "rank_whole_limit must not be negative"),
    ],
)
def test_a_mistaken_setting_is_named(
    config: Callable[..., object], values: dict[str, float], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        config(**values)
