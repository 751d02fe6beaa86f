"""What runs would have delivered is told by times taken side by side, in sittings with near cores."""

from __future__ import annotations

import json
import time
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from codegen.measure.config import MeasureConfig
from codegen.measure.measurement import Failure, Measurement
from scripts.suites.end_use import sittings as sittings_module
from scripts.suites.end_use.retiming import (
    Judgement,
    contending,
    elapsed_seconds,
    incumbents,
    judgements,
    mean_latencies,
    retimed_curves,
    scatter,
)
from scripts.suites.end_use.sittings import Contest, Sitting, hold_sittings, key_of, near_sittings
from scripts.suites.search_efficiency.runs import Searched
from search.trials import Trial
from search.tuner import TuneResult

NEAR_S, FAR_S = (4e-8, 5e-8), (4e-8, 2e-7)


def tuned(*latencies_s: float | None) -> TuneResult:
    """A run of candidates 0, 1, ... at two seconds a trial; None failed."""
    measurements = [
        Measurement((), Failure("compile", "no")) if s is None else Measurement((s,)) for s in latencies_s
    ]
    trials = [
        Trial(number, 2.0 * number, s, None, "ok" if s else "compile", "search")
        for number, s in enumerate(latencies_s, start=1)
    ]
    candidates = cast(Any, range(len(latencies_s)))
    return TuneResult(candidates, tuple(measurements), tuple(trials), "trials")


def searched(*runs: TuneResult) -> Searched:
    """Runs of one method, in which a candidate is named by its number."""
    space = SimpleNamespace(named=lambda candidates, row: {"number": candidates[row]})
    return Searched("task", cast(Any, SimpleNamespace(space=space)), {"one": list(runs)})


def times(**seconds: float) -> dict[str, float]:
    """By key; names are ``n`` and the number of the candidate."""
    return {key_of({"number": int(name[1:])}): s for name, s in seconds.items()}


def test_a_mean_is_over_the_sittings_in_which_a_candidate_ran() -> None:
    assert mean_latencies([Sitting({"a": 1.0, "b": 2.0}, NEAR_S), Sitting({"a": 3.0}, NEAR_S)]) == {
        "a": 2.0,
        "b": 2.0,
    }


def test_each_sitting_judges_what_the_others_choose() -> None:
    first, second = judgements([Sitting({"a": 1.0, "b": 2.0}, NEAR_S), Sitting({"a": 3.0}, NEAR_S)])
    assert (first.chosen_by_s, first.counted_s) == ({"a": 3.0}, {"a": 1.0, "b": 2.0})
    assert (second.chosen_by_s, second.counted_s) == ({"a": 1.0, "b": 2.0}, {"a": 3.0, "b": 2.0})
    (alone,) = judgements([Sitting({"a": 1.0, "b": 2.0}, NEAR_S)])
    assert alone.best_s() == 1.0
    assert np.isnan(Judgement({}, {}).best_s())


def test_the_best_of_many_equal_candidates_is_no_better_than_they_are() -> None:
    rng = np.random.default_rng(0)
    taken = [
        Sitting({str(number): s for number, s in enumerate(row)}, NEAR_S)
        for row in rng.lognormal(sigma=0.05, size=(6, 300))
    ]
    assert min(mean_latencies(taken).values()) < 0.96
    assert np.mean([each.best_s() for each in judgements(taken)]) == pytest.approx(1.0, abs=0.05)


def test_a_run_delivers_the_best_by_the_second_timing_of_what_it_held_for_its_best() -> None:
    long, failed = tuned(None, 5.0, 7.0, 4.0, 3.0), tuned(None, None)
    assert incumbents(long) == [None, 1, 1, 3, 4]
    again_s = times(n1=4.5, n2=0.1, n4=4.75)
    never = [np.nan] * 6
    # The third trial was slower than the second in the run; the fourth was not timed again.
    expected = [np.nan, 4.5, 4.5, 4.0, 4.0, 4.0]
    found = retimed_curves(searched(long, failed), [Judgement(again_s, again_s)], {"one": 6})
    np.testing.assert_equal(found["one"], [expected, never])
    assert elapsed_seconds([long, failed], 6).tolist() == [[2, 4, 6, 8, 10, 10], [2, 4, 4, 4, 4, 4]]


def test_what_was_chosen_counts_with_the_time_of_the_sitting_that_judges() -> None:
    run = tuned(5.0, 4.0, 3.0)
    judged = [
        Judgement(times(n0=3.0, n1=1.0, n2=2.0), times(n0=1.0, n1=7.0, n2=1.0)),
        Judgement(times(n0=1.0, n1=2.0, n2=3.0), times(n0=5.0, n1=1.0, n2=1.0)),
    ]
    assert retimed_curves(searched(run), judged, {"one": 3})["one"].tolist() == [[3.0, 6.0, 6.0]]


def test_a_run_that_was_made_with_a_larger_budget_counts_up_to_the_one_that_is_asked_for() -> None:
    run = tuned(5.0, 4.0, 3.0)
    assert retimed_curves(searched(run), [Judgement({}, {})], {"one": 2})["one"].tolist() == [[5.0, 4.0]]
    assert elapsed_seconds([run], 2).tolist() == [[2.0, 4.0]]


def test_what_was_never_the_fastest_or_is_far_from_the_best_is_not_timed_again() -> None:
    runs = searched(tuned(5.0, 7.0, 4.0, None), tuned(9.0, 3.0))
    assert list(contending(runs)) == [{"number": 2}, {"number": 1}]


def test_the_scatter_is_what_the_times_of_a_sitting_do_not_share() -> None:
    one = {"a": 1.0, "b": 2.0, "c": 3.0}
    slower = {key: 1.5 * s for key, s in one.items()}
    assert scatter([Sitting(one, NEAR_S), Sitting(slower, NEAR_S)]) == pytest.approx(0.0, abs=1e-9)
    assert np.isnan(scatter([Sitting(one, NEAR_S)]))
    rng = np.random.default_rng(0)
    taken = [
        Sitting({str(number): s for number, s in enumerate(row)}, NEAR_S)
        for row in rng.lognormal(sigma=0.1, size=(20, 200))
    ]
    assert scatter(taken) == pytest.approx(0.1, rel=0.1)


def test_sittings_are_near_that_found_the_cores_so_before_and_after() -> None:
    near, far, unseen = (Sitting({}, each) for each in (NEAR_S, FAR_S, (4e-8, None)))
    assert near_sittings([near, far, unseen], 4e-8) == [near]
    assert near_sittings([unseen], float("inf")) == [unseen]


def hold(
    monkeypatch: pytest.MonkeyPatch, folder: Path, wanted: int, *states: tuple[float | None, float | None]
) -> tuple[int, list[Sitting]]:
    """How many sittings one contest has had when ``states`` follow each other, and which count."""
    exchanges = (s for state in states for s in state)
    meter = SimpleNamespace(exchange_s=lambda: next(exchanges))

    def remeasured(jobs: object, num_rounds: int) -> list[Any]:
        return [SimpleNamespace(summary=SimpleNamespace(median_s=1.0)), SimpleNamespace(summary=None)]

    pool = nullcontext(SimpleNamespace(remeasure_interleaved=remeasured))
    monkeypatch.setattr(sittings_module, "MeasurePool", lambda *options: pool)
    monkeypatch.setattr(sittings_module, "ExchangeMeter", lambda target: meter)
    monkeypatch.setattr(sittings_module, "wait_for_near", lambda *options: None)
    monkeypatch.setattr(sittings_module, "job_of", lambda *options: None)
    space = cast(Any, SimpleNamespace(target=None))
    candidates = {key_of({"number": number}): {"number": number} for number in range(2)}
    contest = Contest("task", cast(Any, None), space, candidates, 3, folder / "retimed" / "task.json")
    (counting,) = hold_sittings([contest], MeasureConfig(), wanted)
    return len(contest.sittings), counting


def test_sittings_go_on_until_enough_of_them_found_the_cores_near(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    num, counting = hold(monkeypatch, tmp_path, 2, NEAR_S, FAR_S, NEAR_S)
    assert (num, [each.exchange_s for each in counting]) == (3, [NEAR_S, NEAR_S])
    assert counting[0].latencies_s == {key_of({"number": 0}): 1.0}  # the other one failed
    # They are kept: none has to be repeated, and one more is one more.
    assert hold(monkeypatch, tmp_path, 2) == (num, counting)
    assert hold(monkeypatch, tmp_path, 3, NEAR_S)[0] == 4
    kept = json.loads((tmp_path / "retimed" / "task.json").read_text())
    assert [tuple(each["exchange_s"]) for each in kept["sittings"]] == [NEAR_S, FAR_S, NEAR_S, NEAR_S]


def test_a_first_sitting_with_far_cores_counts_no_longer_once_they_are_near(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    apart = (2e-7, 2e-7)
    num, counting = hold(monkeypatch, tmp_path, 2, apart, NEAR_S, NEAR_S)
    assert (num, [each.exchange_s for each in counting]) == (3, [NEAR_S, NEAR_S])


def test_cores_that_stay_far_or_unseen_end_the_sittings_all_the_same(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    unseen = (None, None)
    _, counting = hold(monkeypatch, tmp_path / "a", 2, unseen, unseen)
    assert [each.exchange_s for each in counting] == [unseen, unseen]
    num, counting = hold(monkeypatch, tmp_path / "b", 2, NEAR_S, FAR_S, FAR_S, FAR_S)
    assert (num, [each.exchange_s for each in counting]) == (4, [NEAR_S])
    num, counting = hold(monkeypatch, tmp_path / "c", 1, FAR_S, FAR_S)
    assert (num, [each.exchange_s for each in counting]) == (2, [FAR_S])


def test_waiting_for_near_cores_ends_when_they_are_or_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    seen = iter([2e-7, None, 4e-8])
    meter = cast(Any, SimpleNamespace(exchange_s=lambda: next(seen)))
    sittings_module.wait_for_near(meter, 4e-8)
    assert len(waits) == 2
    sittings_module.wait_for_near(meter, float("inf"))  # nobody knows what is near
    monkeypatch.setattr(sittings_module, "MAX_WAIT_S", 0.0)
    sittings_module.wait_for_near(cast(Any, SimpleNamespace(exchange_s=lambda: 2e-7)), 4e-8)
    assert len(waits) == 2
