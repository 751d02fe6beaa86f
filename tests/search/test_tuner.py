from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from codegen.measure.measurement import Failure, Measurement
from codegen.schedule.candidates import Candidates, concatenate
from search.annealer import AnnealConfig, Annealer
from search.arms import PlanConfig
from search.exhaustive import ExhaustiveSearch
from search.journal import open_journal
from search.protocols import Searcher
from search.random_search import RandomSearch
from search.trials import Trial, TuneConfig, expected_gain
from search.tuner import TuningRun, tune
from tests.search.spaces import KnobSpace, LinearModel, RuggedMeasurer, TrueScores, rugged_latency_s

SPACE = KnobSpace()
ANNEAL = AnnealConfig(num_chains=16, num_steps=30)


@dataclass
class FakeClock:
    now_s: float = 1_000.0

    def __call__(self) -> float:
        return self.now_s


@dataclass
class ClockedMeasurer:
    """Every trial takes a second of the fake clock, the slow one a thousand."""

    clock: FakeClock
    slow_trial: int = -1
    num_measured: int = 0

    def measure(self, candidates: Candidates) -> Iterator[Measurement]:
        for latency_s in rugged_latency_s(candidates).tolist():
            self.clock.now_s += 1_000.0 if self.num_measured == self.slow_trial else 1.0
            self.num_measured += 1
            yield Measurement((latency_s,))


class FailingMeasurer:
    def measure(self, candidates: Candidates) -> Iterator[Measurement]:
        return (Measurement((), Failure("timeout", "timeout after 5 s")) for _ in range(len(candidates)))


class ShortMeasurer:
    def measure(self, candidates: Candidates) -> Iterator[Measurement]:
        yield Measurement((1.0,))


def test_an_annealer_with_a_model_beats_random_search() -> None:
    space = KnobSpace(sizes=((12,) * 5, (12,) * 4))
    config = TuneConfig(num_trials=60, plan=PlanConfig(num_trials=20))
    best: dict[str, list[float]] = {"model": [], "random": []}
    for seed in range(3):
        model = LinearModel()
        arms: list[tuple[str, Searcher, LinearModel | None]] = [
            ("model", Annealer(space, model, ANNEAL), model),
            ("random", RandomSearch(space), None),
        ]
        for name, searcher, arm_model in arms:
            rng = np.random.default_rng(seed)
            result = tune(space, searcher, RuggedMeasurer(), arm_model, config, rng)
            best[name].append(result.best_latency_s or 1.0)
    assert max(best["model"]) < min(best["random"])


def test_history_says_what_was_measured() -> None:
    result = tune(
        SPACE,
        RandomSearch(SPACE),
        RuggedMeasurer(),
        None,
        TuneConfig(num_trials=100),
        np.random.default_rng(0),
    )
    assert [trial.trial for trial in result.history] == list(range(1, 101))
    assert len(np.unique(result.candidates.keys())) == 100
    best: float | None = None
    for row, trial in enumerate(result.history):
        failure = result.measurements[row].failure
        assert trial.status == ("ok" if failure is None else "runtime")
        if failure is None:
            assert trial.latency_s is not None
            assert trial.latency_s == rugged_latency_s(result.candidates)[row]
            best = min(trial.latency_s, trial.latency_s if best is None else best)
        assert trial.best_latency_s == best
    assert {trial.status for trial in result.history} == {"ok", "runtime"}
    assert result.best_trial is not None
    assert result.history[result.best_trial].latency_s == result.best_latency_s == best
    assert result.stop_reason == "trials"


def test_the_model_learns_from_all_outcomes_before_each_plan_but_the_first() -> None:
    model = LinearModel()
    config = TuneConfig(num_trials=50, plan=PlanConfig(num_trials=16))
    tune(SPACE, Annealer(SPACE, model, ANNEAL), RuggedMeasurer(), model, config, np.random.default_rng(0))
    assert model.refit_sizes == [16, 32, 48]


@pytest.mark.parametrize(("is_fitted", "arm"), [(False, "random"), (True, "search")])
def test_the_first_plan_is_random_unless_the_model_is_pretrained(is_fitted: bool, arm: str) -> None:
    model = LinearModel(is_fitted=is_fitted)
    config = TuneConfig(num_trials=20, plan=PlanConfig(num_trials=10, epsilon=0.0))
    searcher = Annealer(SPACE, model, ANNEAL)
    result = tune(SPACE, searcher, RuggedMeasurer(), model, config, np.random.default_rng(0))
    assert [trial.arm for trial in result.history] == [arm] * 10 + ["search"] * 10


def test_plans_made_ahead_know_all_plans_but_the_last_and_repeat_none_of_its_trials() -> None:
    model = LinearModel()
    config = TuneConfig(num_trials=50, plan=PlanConfig(num_trials=16, epsilon=0.0, is_ahead=True))
    searcher = Annealer(SPACE, model, ANNEAL)
    result = tune(SPACE, searcher, RuggedMeasurer(), model, config, np.random.default_rng(0))
    assert [trial.arm for trial in result.history] == ["random"] * 32 + ["search"] * 18
    assert model.refit_sizes == [16, 32, 48]
    assert len(np.unique(result.candidates.keys())) == 50
    assert result.stop_reason == "trials"


def test_a_plan_is_made_while_the_one_before_is_measured() -> None:
    """The measurer waits for the scores of the next plan, which a plan in turn would never ask for."""
    has_scored, owner = threading.Event(), threading.current_thread()

    class WatchedScores(TrueScores):
        def score(self, candidates: Candidates) -> NDArray[np.float64]:
            if threading.current_thread() is not owner:
                has_scored.set()
            return super().score(candidates)

    class WaitingMeasurer:
        def measure(self, candidates: Candidates) -> Iterator[Measurement]:
            assert has_scored.wait(timeout=5)
            for latency_s in rugged_latency_s(candidates).tolist():
                yield Measurement((latency_s,))

    config = TuneConfig(num_trials=3, plan=PlanConfig(num_trials=1, epsilon=0.0, is_ahead=True))
    run = TuningRun(
        SPACE,
        Annealer(SPACE, WatchedScores(), AnnealConfig(num_chains=4, num_steps=200, patience=200)),
        WaitingMeasurer(),
        None,
        config,
        np.random.default_rng(0),
    )
    assert run.step()


def test_what_goes_wrong_while_planning_ahead_is_not_lost() -> None:
    class Refusing(TrueScores):
        num_asked = 0

        def score(self, candidates: Candidates) -> NDArray[np.float64]:
            self.num_asked += 1
            if self.num_asked > 31:
                raise FloatingPointError("no scores any more")
            return super().score(candidates)

    config = TuneConfig(num_trials=40, plan=PlanConfig(num_trials=8, is_ahead=True))
    searcher = Annealer(SPACE, Refusing(), ANNEAL)
    with pytest.raises(FloatingPointError, match="no scores any more"):
        tune(SPACE, searcher, RuggedMeasurer(), None, config, np.random.default_rng(0))


def test_a_space_smaller_than_its_plans_is_measured_once_when_they_are_made_ahead() -> None:
    space = KnobSpace(sizes=((3, 4),))
    config = TuneConfig(num_trials=40, plan=PlanConfig(num_trials=5, is_ahead=True))
    measurer = RuggedMeasurer()
    result = tune(space, RandomSearch(space), measurer, None, config, np.random.default_rng(0))
    assert (len(result.history), measurer.num_measured, result.stop_reason) == (12, 12, "exhausted")


def test_plans_made_ahead_cannot_be_limited() -> None:
    config = TuneConfig(num_trials=40, plan=PlanConfig(num_trials=5, is_ahead=True))
    run = TuningRun(SPACE, RandomSearch(SPACE), RuggedMeasurer(), None, config, np.random.default_rng(0))
    with pytest.raises(ValueError, match="cannot be limited"):
        run.step(3)


def test_what_was_not_spent_on_measuring_was_planning() -> None:
    result = tune(
        SPACE, RandomSearch(SPACE), RuggedMeasurer(), None, TuneConfig(num_trials=8), np.random.default_rng(0)
    )
    measured = replace(result.measurements[0], total_s=result.elapsed_s / 4)
    spent = replace(result, measurements=(measured, measured, *result.measurements[2:]))
    assert spent.planning_s == pytest.approx(result.elapsed_s / 2)


def test_control_trials_are_recorded_as_such() -> None:
    config = TuneConfig(num_trials=60, plan=PlanConfig(num_trials=20, control_share=0.25))
    searcher = Annealer(SPACE, TrueScores(), ANNEAL)
    result = tune(SPACE, searcher, RuggedMeasurer(), None, config, np.random.default_rng(0))
    assert Counter(trial.arm for trial in result.history) == {"search": 42, "control": 15, "epsilon": 3}


def test_when_every_trial_fails_the_run_ends_without_a_best() -> None:
    model = LinearModel()
    config = TuneConfig(num_trials=40, plan=PlanConfig(num_trials=16))
    searcher = Annealer(SPACE, model, ANNEAL)
    result = tune(SPACE, searcher, FailingMeasurer(), model, config, np.random.default_rng(0))
    assert len(result.history) == 40
    assert result.best_trial is None
    assert result.best_latency_s is None
    assert {trial.status for trial in result.history} == {"timeout"}
    assert model.refit_sizes == []


def test_a_space_smaller_than_the_plan_is_measured_once_and_ends_the_run() -> None:
    space = KnobSpace(sizes=((3, 4),))
    config = TuneConfig(num_trials=1_000)
    searcher = Annealer(space, TrueScores(), ANNEAL)
    result = tune(space, searcher, RuggedMeasurer(None), None, config, np.random.default_rng(0))
    assert len(result.history) == 12
    assert result.stop_reason == "exhausted"
    assert result.best_latency_s == rugged_latency_s(space.enumerate(100)).min()


def test_a_model_of_nan_only_does_not_stop_the_run() -> None:
    class NanModel(LinearModel):
        def score(self, candidates: Candidates) -> NDArray[np.float64]:
            return np.full(len(candidates), np.nan)

    model = NanModel()
    config = TuneConfig(num_trials=60, plan=PlanConfig(num_trials=20))
    searcher = Annealer(SPACE, model, ANNEAL)
    result = tune(SPACE, searcher, RuggedMeasurer(), model, config, np.random.default_rng(0))
    assert len(result.history) == 60


def test_seconds_end_the_run_inside_a_plan() -> None:
    clock = FakeClock()
    config = TuneConfig(num_trials=None, max_elapsed_s=10.0)
    result = tune(
        SPACE,
        RandomSearch(SPACE),
        ClockedMeasurer(clock),
        None,
        config,
        np.random.default_rng(0),
        clock=clock,
    )
    assert [trial.elapsed_s for trial in result.history] == list(range(1, 11))
    assert result.stop_reason == "seconds"


def test_one_slow_candidate_ends_the_budget_but_loses_nothing() -> None:
    clock = FakeClock()
    config = TuneConfig(num_trials=500, max_elapsed_s=100.0)
    measurer = ClockedMeasurer(clock, slow_trial=5)
    result = tune(SPACE, RandomSearch(SPACE), measurer, None, config, np.random.default_rng(0), clock=clock)
    assert len(result.history) == 6
    assert result.history[-1].elapsed_s == 1_005.0
    assert result.best_latency_s == rugged_latency_s(result.candidates).min()


def test_the_run_stops_when_little_gain_is_expected() -> None:
    config = TuneConfig(
        num_trials=400, plan=PlanConfig(num_trials=20, epsilon=0.0), stop_gain=1e-3, gain_window=40
    )
    searcher = Annealer(SPACE, TrueScores(), ANNEAL)
    result = tune(SPACE, searcher, RuggedMeasurer(None), None, config, np.random.default_rng(0))
    assert result.stop_reason == "gain"
    assert 40 < len(result.history) <= 100


def test_expected_gain_extrapolates_the_last_window() -> None:
    best = [None, 8.0, 4.0, 4.0, 2.0]
    history = [Trial(row + 1, 0.0, None, value, "ok", "search") for row, value in enumerate(best)]
    assert expected_gain(history, num_next=3, window=3) == pytest.approx(0.75)
    assert expected_gain(history, num_next=1, window=2) == pytest.approx(1 - 0.5**0.5)
    assert expected_gain(history, num_next=1, window=4) is None
    assert expected_gain(history, num_next=1, window=5) is None


def test_every_trial_is_reported_as_it_ends() -> None:
    seen: list[Trial] = []
    result = tune(
        SPACE,
        ExhaustiveSearch(SPACE),
        RuggedMeasurer(),
        None,
        TuneConfig(num_trials=30),
        np.random.default_rng(0),
        on_trial=seen.append,
    )
    assert tuple(seen) == result.history


def test_the_same_seed_gives_the_same_run() -> None:
    runs = []
    for _ in range(2):
        model = LinearModel()
        searcher = Annealer(SPACE, model, ANNEAL)
        config = TuneConfig(num_trials=40, plan=PlanConfig(num_trials=16))
        result = tune(SPACE, searcher, RuggedMeasurer(), model, config, np.random.default_rng(3))
        runs.append((result.candidates.keys().tolist(), result.measurements))
    assert runs[0] == runs[1]


def test_a_measurer_that_gives_too_little_is_named() -> None:
    with pytest.raises(ValueError, match="1 measurements for 64 candidates"):
        tune(SPACE, RandomSearch(SPACE), ShortMeasurer(), None, TuneConfig(), np.random.default_rng(0))


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"num_trials": None}, "needs a budget"),
        ({"num_trials": 0}, "num_trials"),
        ({"max_elapsed_s": 0.0}, "max_elapsed_s"),
        ({"max_elapsed_s": float("nan")}, "max_elapsed_s"),
        ({"stop_gain": -1.0}, "stop_gain"),
        ({"stop_gain": 1.0}, r"stop_gain must be in \[0, 1\)"),
        ({"stop_gain": float("nan")}, "stop_gain"),
        ({"gain_window": 0}, "gain_window"),
    ],
)
def test_an_impossible_setting_is_refused_by_name(settings: dict[str, float | None], name: str) -> None:
    with pytest.raises(ValueError, match=name):
        TuneConfig(**settings)  # type: ignore[arg-type]


def test_a_run_that_used_up_its_time_does_not_grow_when_it_is_repeated(tmp_path: Path) -> None:
    config = TuneConfig(num_trials=None, max_elapsed_s=20.5, plan=PlanConfig(num_trials=8))
    lengths = []
    for _ in range(3):
        clock = FakeClock()
        measurer = ClockedMeasurer(clock)
        with open_journal(tmp_path / "journal.jsonl", {}) as journal:
            rng = np.random.default_rng(0)
            result = tune(SPACE, RandomSearch(SPACE), measurer, None, config, rng, journal, clock=clock)
        lengths.append(len(result.history))
        assert result.stop_reason == "seconds"
        assert len(result.candidates) == len(result.history)
    assert lengths == [21, 21, 21]


def test_candidates_are_gathered_once_a_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def counting(parts: list[Candidates]) -> Candidates:
        sizes.append(sum(len(part) for part in parts))
        return concatenate(parts)

    monkeypatch.setattr("search.trials.concatenate", counting)
    config = TuneConfig(num_trials=40, plan=PlanConfig(num_trials=10))
    tune(SPACE, RandomSearch(SPACE), RuggedMeasurer(), None, config, np.random.default_rng(0))
    assert sizes == [10, 20, 30, 40]
