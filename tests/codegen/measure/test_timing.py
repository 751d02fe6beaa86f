from __future__ import annotations

import math
import statistics
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codegen.measure.config import MeasureConfig
from codegen.measure.timing import (
    Summary,
    calibrate,
    intervals_overlap,
    summarise,
    tied_with_best,
    time_repeats,
    time_undisturbed,
)

times = st.lists(st.floats(1e-7, 10.0), min_size=1, max_size=60)


@dataclass
class FakeKernel:
    """Takes ``call_s`` a call, ten times as long for the first ``num_cold`` calls."""

    call_s: float
    num_cold: int = 0
    batches: list[int] = field(default_factory=list)

    def time_calls(self, num_calls: int) -> float:
        cold = min(num_calls, max(0, self.num_cold - sum(self.batches)))
        self.batches.append(num_calls)
        return self.call_s * (num_calls + 9 * cold)


@given(call_s=st.floats(1e-7, 1.0), num_cold=st.integers(0, 3))
@settings(deadline=None)
def test_a_repeat_is_long_enough_and_not_much_longer(call_s: float, num_cold: int) -> None:
    kernel = FakeKernel(call_s, num_cold)
    num_calls, _ = calibrate(kernel.time_calls, 0.002)
    assert num_calls == 1 or 0.002 * 0.99 <= num_calls * call_s <= 0.002 * 3 + call_s


@given(call_s=st.floats(1e-6, 0.5))
@settings(deadline=None)
def test_time_spent_is_bounded_by_the_budget_or_a_few_calls(call_s: float) -> None:
    config = MeasureConfig()
    kernel = FakeKernel(call_s)
    times_s = time_repeats(kernel.time_calls, config)
    assert times_s == pytest.approx([call_s] * len(times_s))
    assert 3 <= len(times_s) <= config.num_repeats
    assert sum(kernel.batches) * call_s <= max(2 * config.budget_s, 6 * call_s)


def test_a_slow_candidate_is_cut_and_a_fast_one_is_not() -> None:
    config = MeasureConfig(early_stop_factor=5.0, budget_s=0.05)
    slow, rather_slow, fast = FakeKernel(0.1), FakeKernel(0.01), FakeKernel(0.004)
    assert len(time_repeats(slow.time_calls, config, best_s=0.001)) == 1
    assert len(time_repeats(rather_slow.time_calls, config, best_s=0.001)) == 3
    assert sum(rather_slow.batches) == 3
    assert len(time_repeats(fast.time_calls, config, best_s=0.001)) == config.num_repeats


def test_one_interrupted_call_does_not_cut_a_fast_candidate() -> None:
    kernel = FakeKernel(0.001, num_cold=1)
    times_s = time_repeats(kernel.time_calls, MeasureConfig(), best_s=0.001)
    assert len(times_s) == 10
    assert statistics.median(times_s) == pytest.approx(0.001)


@dataclass
class BusyMachine:
    """Every ``period``-th repeat of a kernel loses a core, which costs it 4 ms."""

    kernel: FakeKernel
    period: int
    num_preemptions: int = 0
    num_timed: int = 0

    def time_calls(self, num_calls: int) -> float:
        self.num_timed += 1
        is_disturbed = self.num_timed % self.period == 0
        self.num_preemptions += is_disturbed
        return self.kernel.time_calls(num_calls) + 0.004 * is_disturbed


@pytest.mark.parametrize("period", [2, 3])
def test_disturbed_repeats_are_made_again(period: int) -> None:
    machine = BusyMachine(FakeKernel(0.0002), period)
    times_s = time_repeats(machine.time_calls, MeasureConfig(), 0.0002, lambda: machine.num_preemptions)
    assert len(times_s) >= 3
    assert times_s == pytest.approx([0.0002] * len(times_s))


def test_a_machine_that_never_rests_still_gives_times() -> None:
    machine = BusyMachine(FakeKernel(0.0002), period=1)
    times_s = time_repeats(machine.time_calls, MeasureConfig(), 0.0002, lambda: machine.num_preemptions)
    assert 3 <= len(times_s) <= 20
    assert min(times_s) > 0.0002
    assert time_undisturbed(machine.time_calls, 1, lambda: machine.num_preemptions) > 0.004


def test_a_turn_is_taken_again_until_it_is_undisturbed() -> None:
    machine = BusyMachine(FakeKernel(0.0002), period=2, num_timed=1)
    elapsed_s = time_undisturbed(machine.time_calls, 5, lambda: machine.num_preemptions)
    assert elapsed_s == pytest.approx(0.001)


def test_cold_caches_mean_one_call_a_repeat() -> None:
    kernel = FakeKernel(1e-5)
    assert len(time_repeats(kernel.time_calls, MeasureConfig(flush_cache=True))) == 10
    assert set(kernel.batches) == {1}


def test_a_clock_that_stands_still_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="clock"):
        calibrate(lambda num_calls: 0.0, 0.002)


@given(times_s=times)
@settings(deadline=None)
def test_the_interval_holds_the_median_and_lies_in_the_range(times_s: list[float]) -> None:
    summary = summarise(times_s)
    assert min(times_s) <= summary.low_s <= summary.median_s <= summary.high_s <= max(times_s)
    assert summary.median_s == statistics.median(times_s)
    assert summary.coverage >= 0.95 or len(times_s) < 6


@given(times_s=times, factor=st.floats(0.5, 4.0))
@settings(deadline=None)
def test_order_does_not_matter_and_scale_carries_over(times_s: list[float], factor: float) -> None:
    summary, scaled = summarise(times_s), summarise([factor * time for time in reversed(times_s)])
    assert scaled.low_s == pytest.approx(factor * summary.low_s)
    assert scaled.high_s == pytest.approx(factor * summary.high_s)


@pytest.mark.parametrize("num_repeats", [5, 10, 25])
def test_the_interval_covers_the_true_median_as_often_as_it_says(num_repeats: int) -> None:
    rng = np.random.default_rng(0)
    samples = rng.lognormal(0.0, 0.5, (2000, num_repeats))
    summaries = [summarise(row.tolist()) for row in samples]
    covered = np.mean([summary.low_s <= 1.0 <= summary.high_s for summary in summaries])
    assert covered == pytest.approx(summaries[0].coverage, abs=0.02)


def test_one_time_proves_nothing() -> None:
    assert summarise([2.0]) == Summary(2.0, 2.0, 2.0, 0.0, 1)
    with pytest.raises(ValueError, match="no times"):
        summarise([])


@given(left=times, right=times)
@settings(deadline=None)
def test_ties_are_mutual_and_the_best_is_among_them(left: list[float], right: list[float]) -> None:
    a, b = summarise(left), summarise(right)
    assert intervals_overlap(a, b) == intervals_overlap(b, a)
    assert intervals_overlap(a, a)
    best = 0 if a.median_s <= b.median_s else 1
    assert tied_with_best([a, b])[best]


def test_a_clear_winner_is_alone() -> None:
    fast, slow = summarise([1.0 + i / 100 for i in range(10)]), summarise([2.0 + i / 100 for i in range(10)])
    assert tied_with_best([slow, fast]) == [False, True]
    assert tied_with_best([]) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_repeats", 0),
        ("min_repeat_s", -1.0),
        ("timeout_s", 0.0),
        ("early_stop_factor", 1.0),
        ("memory_bytes", 1),
        ("steady_wait_s", -1.0),
        ("steady_share", math.nan),
    ],
)
def test_impossible_settings_are_refused_by_name(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name} must .* got {value}"):
        MeasureConfig(**{name: value})
