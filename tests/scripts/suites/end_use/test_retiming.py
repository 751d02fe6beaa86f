"""What runs would have delivered is told by times taken side by side, in several sittings."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from codegen.measure.measurement import Failure, Measurement
from costmodel.metrics import FloatArray
from datasets.record import canonical_json
from scripts.suites.end_use.retiming import (
    contending,
    elapsed_seconds,
    incumbents,
    mean_latencies,
    retimed_curves,
    scatter,
)
from scripts.suites.end_use.sittings import Sitting
from scripts.suites.search_efficiency.runs import Searched
from search.trials import Trial
from search.tuner import TuneResult


def sitting(**latencies_s: float) -> Sitting:
    return Sitting(latencies_s, (4e-8, 4e-8))


def sittings_of(times_s: FloatArray) -> tuple[list[Sitting], list[str]]:
    """Of times of shape (sittings, candidates), and the candidates."""
    names = [f"n{number}" for number in range(times_s.shape[1])]
    return [sitting(**dict(zip(names, row.tolist()))) for row in times_s], names


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
    return {canonical_json({"number": int(name[1:])}): s for name, s in seconds.items()}


def test_a_mean_is_over_sittings_that_may_be_slower_as_a_whole() -> None:
    taken = [sitting(a=1.0, b=2.0, c=4.0), sitting(a=4.0, b=8.0, c=16.0)]
    assert mean_latencies(taken, ["a", "b", "c"]) == pytest.approx({"a": 2.0, "b": 4.0, "c": 8.0})


def test_a_candidate_that_failed_in_a_slow_sitting_is_not_the_faster_for_it() -> None:
    taken = [sitting(a=1.0, b=2.0, c=4.0), sitting(b=8.0)]
    found = mean_latencies(taken, ["a", "b", "c", "d"])
    assert found["a"] == pytest.approx(found["b"] / 2)
    assert np.isnan(found["d"])


def test_a_run_delivers_the_best_by_the_second_timing_of_what_it_held_for_its_best() -> None:
    long, failed, empty = tuned(None, 5.0, 7.0, 4.0, 3.0), tuned(None, None), tuned()
    assert incumbents(long) == [None, 1, 1, 3, 4]
    again_s = times(n1=4.5, n2=0.1, n4=4.75)
    never = [np.nan] * 6
    # The third trial was slower than the second in the run; the fourth was not timed again.
    expected = [np.nan, 4.5, 4.5, 4.0, 4.0, 4.0]
    found = retimed_curves(searched(long, failed, empty), again_s, {"one": 6})
    np.testing.assert_equal(found["one"], [expected, never, never])
    assert elapsed_seconds([long, failed], 6).tolist() == [[2, 4, 6, 8, 10, 10], [2, 4, 4, 4, 4, 4]]


def test_what_failed_when_it_was_timed_again_is_not_delivered() -> None:
    again_s = times(n0=3.0, n1=float("nan"))
    found = retimed_curves(searched(tuned(5.0, 4.0)), again_s, {"one": 2})
    assert found["one"].tolist() == [[3.0, 3.0]]


def test_a_run_that_was_made_with_a_larger_budget_counts_up_to_the_one_that_is_asked_for() -> None:
    run = tuned(5.0, 4.0, 3.0)
    assert retimed_curves(searched(run), {}, {"one": 2})["one"].tolist() == [[5.0, 4.0]]
    assert elapsed_seconds([run], 2).tolist() == [[2.0, 4.0]]


def test_what_was_never_the_fastest_or_is_far_from_the_best_is_not_timed_again() -> None:
    runs = searched(tuned(5.0, 7.0, 4.0, None), tuned(9.0, 3.0))
    assert list(contending(runs)) == [{"number": 2}, {"number": 1}]


@pytest.mark.parametrize("num_sittings", [2, 4, 20])
def test_the_scatter_is_what_the_times_of_a_sitting_do_not_share(num_sittings: int) -> None:
    rng = np.random.default_rng(0)
    shared = rng.lognormal(sigma=0.5, size=(num_sittings, 1))
    own = np.exp(0.1 * rng.standard_normal((num_sittings, 400)))
    assert scatter(*sittings_of(shared * own)) == pytest.approx(0.1, rel=0.15)


def test_the_scatter_is_unknown_of_one_sitting_or_of_two_candidates() -> None:
    taken, names = sittings_of(np.ones((1, 5)))
    assert np.isnan(scatter(taken, names))
    taken, names = sittings_of(np.ones((3, 2)))
    assert np.isnan(scatter(taken, names))
