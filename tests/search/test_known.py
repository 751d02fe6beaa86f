"""Outcomes from before a run: they are learnt first, count, and are not measured again."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from codegen.schedule.candidates import Candidates
from search.annealer import AnnealConfig, Annealer
from search.arms import PlanConfig
from search.exhaustive import ExhaustiveSearch
from search.genetic import GeneticConfig, GeneticSearch
from search.known import Known, nothing_known
from search.random_search import RandomSearch
from search.trials import TuneConfig
from search.tuner import TuneResult, TuningRun, tune
from tests.search.spaces import KnobSpace, LinearModel, RuggedMeasurer, rugged_latency_s
from tests.search.tuning_run import known_outcomes

SPACE = KnobSpace()
CONFIG = TuneConfig(num_trials=20, plan=PlanConfig(num_trials=10, epsilon=0.0))


def guided(known: Known | None, model: LinearModel) -> TuneResult:
    searcher = Annealer(SPACE, model, AnnealConfig(num_chains=16, num_steps=15))
    rng = np.random.default_rng(2)
    return tune(SPACE, searcher, RuggedMeasurer(), model, CONFIG, rng, known=known)


def test_a_model_that_knows_nothing_plans_from_what_is_known() -> None:
    model, known = LinearModel(), known_outcomes()
    result = guided(known, model)
    assert model.refit_sizes == [12, 22]
    assert {trial.arm for trial in result.history} == {"search"}
    assert {trial.arm for trial in guided(None, LinearModel()).history[:10]} == {"random"}


def test_what_is_known_is_not_measured_again_and_may_be_a_finalist() -> None:
    known = known_outcomes()
    result = guided(known, LinearModel())
    assert not np.isin(result.candidates.keys(), known.candidates.keys()).any()
    fastest = result.fastest(5)
    latencies_s = np.concatenate([known.latencies_s, [t.latency_s or np.nan for t in result.history]])
    np.testing.assert_array_equal(rugged_latency_s(fastest), np.sort(latencies_s)[:5])
    assert len(result.fastest(1_000)) == np.count_nonzero(~np.isnan(latencies_s))


def test_the_best_so_far_begins_with_what_is_known() -> None:
    best = SPACE.enumerate(10_000)
    best = best[np.argsort(rugged_latency_s(best))[:1]]
    result = guided(Known(best, rugged_latency_s(best)), LinearModel())
    assert {trial.best_latency_s for trial in result.history} == {rugged_latency_s(best)[0]}
    np.testing.assert_array_equal(result.fastest(1).keys(), best.keys())


def test_a_search_without_a_model_starts_from_what_is_known() -> None:
    known, config = known_outcomes(), TuneConfig(num_trials=12, plan=PlanConfig(num_trials=12, epsilon=0.0))
    searcher = GeneticSearch(SPACE, GeneticConfig(population=6))
    result = tune(SPACE, searcher, RuggedMeasurer(), None, config, np.random.default_rng(0), known=known)
    blind = GeneticSearch(SPACE, GeneticConfig(population=6))
    other = tune(SPACE, blind, RuggedMeasurer(), None, config, np.random.default_rng(0))
    means = [np.nanmean([t.latency_s or np.nan for t in each.history]) for each in (result, other)]
    assert means[0] < means[1]


def test_a_space_of_which_all_is_known_needs_no_trial() -> None:
    space = KnobSpace(sizes=((3,),))
    known = Known(space.enumerate(3), np.array([2.0, np.nan, 1.0]))
    config = TuneConfig(num_trials=5)
    for searcher in (RandomSearch(space), ExhaustiveSearch(space)):
        result = tune(space, searcher, RuggedMeasurer(), None, config, np.random.default_rng(0), known=known)
        assert (result.history, result.stop_reason) == ((), "exhausted")
        assert result.best_latency_s == 1.0
        np.testing.assert_array_equal(result.fastest(3).keys(), space.enumerate(3)[[2, 0]].keys())


def test_known_failures_alone_teach_nothing_and_are_not_repeated() -> None:
    known = known_outcomes()
    failed = Known(known.candidates, np.full(12, np.nan))
    model = LinearModel()
    result = guided(failed, model)
    assert model.refit_sizes == [22]
    assert not np.isin(result.candidates.keys(), known.candidates.keys()).any()


def test_other_sources_are_asked_before_each_plan() -> None:
    class Asking(LinearModel):
        def refit(
            self, candidates: Candidates, latencies_s: NDArray[np.float64], failed: NDArray[np.bool_]
        ) -> None:
            calls.append("refit")
            super().refit(candidates, latencies_s, failed)

    calls: list[str] = []
    model, searcher = Asking(), RandomSearch(SPACE)
    rng = np.random.default_rng(0)
    run = TuningRun(
        SPACE, searcher, RuggedMeasurer(), model, CONFIG, rng, before_refit=lambda: calls.append("asked")
    )
    while run.step():
        pass
    assert calls == ["asked", "asked", "refit"]


def test_what_cannot_be_known_is_refused() -> None:
    point = SPACE.enumerate(1)
    with pytest.raises(ValueError, match="1 candidates but 2 latencies"):
        Known(point, np.ones(2))
    with pytest.raises(ValueError, match="occurs twice"):
        Known(SPACE.enumerate(2)[[0, 0]], np.ones(2))
    assert (len(nothing_known(SPACE)), nothing_known(SPACE).best_latency_s) == (0, None)
