"""A trial waits for a machine that is as fast as usual, but never long for one that is not going to be."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codegen.measure.config import MeasureConfig
from codegen.measure.drift import MachineProbe
from codegen.measure.exchange import ExchangeMeter
from codegen.measure.jobs import MeasureJob
from codegen.measure.peak_loops import PinnedTeam
from codegen.measure.steadiness import (
    FREE_WAIT_S,
    LIMITS,
    NUM_REMEMBERED,
    NUM_UNJUDGED,
    PAUSE_S,
    UNSEEN_S,
    Reading,
    Watch,
    watching,
)
from codegen.measure.trials import MAX_ATTEMPTS, Bench, run_interleaved, run_trial
from tests.codegen.measure.changing_machine import (
    APART,
    SLOW_CORE,
    STEADY,
    Machine,
    Told,
    experienced,
    slow_between,
)
from tests.codegen.measure.faulty_workbench import FaultyWorkbench
from tests.targets import make_target


@pytest.mark.parametrize("slow", [SLOW_CORE, APART])
def test_a_slow_state_is_waited_for_and_no_longer(slow: tuple[float, float]) -> None:
    machine = slow_between(4.0, 5.0, slow)
    watch = experienced(machine)
    assert machine.now_s == 0
    machine.now_s = 4.0
    assert watch.wait() <= 1
    assert 5.0 <= machine.now_s < 5.1


def test_small_scatter_is_no_reason_to_wait() -> None:
    rng = np.random.default_rng(0)
    machine = Machine(lambda _: (1e-4 * rng.uniform(1.0, 1.1), 5e-8 * rng.uniform(0.9, 1.3)))
    watch = machine.watch()
    assert max(watch.wait() for _ in range(200)) <= 1
    assert machine.now_s == 0


def test_one_core_has_no_exchange_to_look_at() -> None:
    machine = Machine(lambda now_s: (1.9e-4 if now_s >= 1 else 1e-4, 0.0))
    watch = experienced(machine, max_wait_s=0.1)
    assert watch.wait() == pytest.approx(1 / LIMITS[0])
    machine.now_s = 1.0
    assert watch.wait() == pytest.approx(1.9 / LIMITS[0])


def test_nobody_knows_what_is_usual_at_first() -> None:
    machine = slow_between(0.0, 1.0, SLOW_CORE)
    watch = machine.watch()
    assert [watch.wait() for _ in range(NUM_UNJUDGED - 1)] == [0.0] * (NUM_UNJUDGED - 1)
    assert watch.usual is None
    assert watch.wait() > 0
    assert watch.usual is not None


def test_who_is_told_what_is_usual_judges_at_once_and_learns_as_who_told() -> None:
    teacher = experienced(slow_between(1.0, 1e9, SLOW_CORE))
    machine = Machine(lambda now_s: SLOW_CORE)
    watch = machine.watch(remembered=teacher.remembered)
    np.testing.assert_array_equal(watch.usual, STEADY)
    assert watch.wait() == pytest.approx(1.9 / LIMITS[0])
    assert machine.now_s > 0
    assert [tuple(each) for each in watch.remembered] == [STEADY] * NUM_UNJUDGED + [SLOW_CORE]


def test_no_more_is_remembered_of_what_was_told_than_of_what_was_seen() -> None:
    told = [np.array(SLOW_CORE)] * NUM_REMEMBERED + [np.array(STEADY)] * NUM_REMEMBERED
    watch = Machine(lambda now_s: STEADY).watch(remembered=told)
    assert [tuple(each) for each in watch.remembered] == [STEADY] * NUM_REMEMBERED


def test_a_single_wait_has_a_limit_and_says_how_it_ended() -> None:
    machine = slow_between(1.0, 1e9, SLOW_CORE)
    watch = experienced(machine, max_wait_s=0.5)
    machine.now_s = 1.0
    assert watch.wait() == pytest.approx(1.9 / LIMITS[0])
    assert 1.5 <= machine.now_s < 1.6


def test_a_machine_that_stays_slow_becomes_the_usual_one() -> None:
    machine = slow_between(1.0, 1e9, SLOW_CORE)
    watch = machine.watch()
    for _ in range(NUM_REMEMBERED):
        watch.wait()
    machine.now_s = 1.0
    waits = [watch.wait() for _ in range(NUM_REMEMBERED)]
    assert waits[0] > 1
    assert waits[-1] <= 1


@given(
    st.lists(st.sampled_from([STEADY, SLOW_CORE, APART]), min_size=1, max_size=60),
    st.floats(0.0, 0.2),
    st.floats(0.0, 1.0),
)
def test_waiting_never_takes_more_than_its_share(
    states: list[tuple[float, float]], trial_s: float, share: float
) -> None:
    machine = Machine(lambda now_s: states[int(now_s * 3) % len(states)])
    watch = machine.watch(3.0, share)
    for _ in range(100):
        watch.wait()
        machine.now_s += trial_s
    most_s = FREE_WAIT_S + share * 100 * trial_s
    second_looks_s = 100 * PAUSE_S
    assert machine.now_s <= 100 * trial_s + most_s + second_looks_s


def test_a_wait_is_no_work_of_which_it_may_take_its_share() -> None:
    machine = slow_between(2.0, 1e9, SLOW_CORE)
    watch = experienced(machine, max_wait_s=60.0, max_share=1.0)
    machine.now_s = 2.0
    assert watch.wait() > 1
    assert 2.0 + FREE_WAIT_S + 2.0 <= machine.now_s < 2.1 + FREE_WAIT_S + 2.0


def test_what_is_thrown_away_is_charged() -> None:
    machine = Machine(lambda now_s: STEADY)
    watch = machine.watch(max_share=0.5)
    machine.now_s = 4.0
    assert watch.affords(0.99 * (FREE_WAIT_S + 2.0))
    watch.charge(1.0)
    assert watch.affords(0.99 * (FREE_WAIT_S + 0.5 * 3.0 - 1.0))
    assert not watch.affords(1.01 * (FREE_WAIT_S + 0.5 * 3.0 - 1.0))


def test_work_before_the_start_allows_for_its_share() -> None:
    watch = Machine(lambda now_s: STEADY).watch(max_share=0.5, worked_s=4.0)
    assert watch.affords(0.99 * (FREE_WAIT_S + 2.0))
    assert not watch.affords(1.01 * (FREE_WAIT_S + 2.0))


def test_a_second_look_decides_after_a_trial() -> None:
    machine = slow_between(1.0, 1.01, SLOW_CORE)
    watch = experienced(machine)
    machine.now_s = 1.0
    assert watch.look() <= 1
    assert machine.now_s == pytest.approx(1.0 + PAUSE_S)


def job() -> MeasureJob:
    return MeasureJob("sleep", {}, make_target(), {"sketch": "good", "knobs": {"duration_us": 100}})


def bench_with(watch: Watch | None, config: MeasureConfig) -> Bench:
    bench = Bench(config, FaultyWorkbench(), lambda phase, position: None)
    if watch is not None:
        bench.watches[job().target.fingerprint] = watch
    return bench


CONFIG = MeasureConfig(num_repeats=2, min_repeat_s=0.0002, budget_s=0.001, reference_every=0)


@pytest.mark.parametrize(
    ("told", "noted"),
    [
        ((0.8, 0.9), 0.9),
        ((0.8, 1.5, 0.7, 0.6), 0.7),
        ((1.6, 0.9, 0.8, 0.8), 0.8),
        ((1.5, 1.5, 1.2, 1.1, 1.4, 1.3, 1.7, 1.1), 1.2),
    ],
)
def test_a_trial_is_timed_until_the_machine_is_steady(told: tuple[float, ...], noted: float) -> None:
    watch = Told(*told)
    measurement = run_trial(bench_with(watch, CONFIG), job(), None)
    assert measurement.unsteadiness == noted
    assert len(measurement.times_s) == 2
    assert watch.told == []
    assert watch.num_repeats == MAX_ATTEMPTS + 1 - len(told) // 2


def test_a_trial_is_not_repeated_beyond_what_may_be_spent() -> None:
    watch = Told(1.5, 1.5, 1.4, 1.3, num_repeats=1)
    assert run_trial(bench_with(watch, CONFIG), job(), None).unsteadiness == 1.4
    assert watch.told == []


def test_a_trial_that_takes_long_is_not_repeated() -> None:
    watch = Told(0.8, 1.5)
    config = replace(CONFIG, timeout_s=1e-5)  # applied by the owner of the process alone
    assert run_trial(bench_with(watch, config), job(), None).unsteadiness == 1.5


def test_a_look_that_fails_costs_no_times() -> None:
    def fail() -> Reading:
        raise MemoryError

    bench = bench_with(Watch(fail, 1.0, 0.25), CONFIG)
    measurement = run_trial(bench, job(), None)
    assert (len(measurement.times_s), measurement.unsteadiness) == (2, 0.0)
    assert bench.is_exhausted


def test_finalists_wait_before_each_round_and_note_the_usual_one() -> None:
    watch = Told(0.7, 1.9, 0.8)
    measurements = run_interleaved(bench_with(watch, CONFIG), [job(), job()], 3)
    assert [each.unsteadiness for each in measurements] == [0.8, 0.8]
    assert watch.told == []


def test_nobody_looks_where_the_settings_do_without(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(probe: MachineProbe, target: object) -> None:
        raise AssertionError("no probe is wanted")

    monkeypatch.setattr(MachineProbe, "__init__", refuse)
    config = MeasureConfig(num_repeats=2, min_repeat_s=0.0002, reference_every=0, steady_wait_s=0.0)
    assert run_trial(bench_with(None, config), job(), None).unsteadiness == 0
    assert len(run_interleaved(bench_with(None, config), [job()], 2)[0].times_s) == 2


def test_one_core_of_this_machine_can_be_read() -> None:
    reading = MachineProbe(make_target(num_threads=1)).steadiness.read()
    assert 1e-6 < reading[0] < 1
    assert reading[1] == 0


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core exchanges nothing")
def test_several_cores_of_this_machine_can_be_read() -> None:
    probe = MachineProbe(make_target(num_threads=2)).steadiness
    readings = np.array([probe.read() for _ in range(20)])
    assert np.all((readings[:, 0] > 1e-6) & (readings[:, 0] < 1))
    assert 0 < readings[:, 1].min() < UNSEEN_S  # a busy machine may miss some


@pytest.mark.parametrize("num_threads", [1, 2])
def test_watching_binds_no_thread_of_the_process_and_leaves_none_behind(num_threads: int) -> None:
    before, cores = set(threading.enumerate()), cores_of_threads()
    known = [np.array([1.0, 1.0])] * NUM_UNJUDGED
    with watching(make_target(num_threads=num_threads), 1.0, 0.25, known, 1e6) as watch:
        assert watch is not None
        assert watch.affords(2e5)
        assert 0 < watch.wait() < 1  # any machine takes less than a second
        during = cores_of_threads()
        assert [during[thread] for thread in during if thread in cores] == [
            cores[thread] for thread in during if thread in cores
        ]
    assert set(threading.enumerate()) <= before
    assert os.sched_getaffinity(0) == cores[threading.get_native_id()]


def cores_of_threads() -> dict[int, set[int]]:
    """On which cores each thread of this process may run, but for those that end meanwhile."""
    cores = {}
    for name in os.listdir("/proc/self/task"):
        with suppress(ProcessLookupError):
            cores[int(name)] = os.sched_getaffinity(int(name))
    return cores


def test_nobody_watches_where_the_settings_do_without(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(team: PinnedTeam, num_threads: int) -> None:
        raise AssertionError("no threads are wanted")

    monkeypatch.setattr(PinnedTeam, "__init__", refuse)
    with watching(make_target(), 0.0, 0.25) as watch:
        assert watch is None


def test_only_two_cores_of_a_team_exchange() -> None:
    meter, sides = ExchangeMeter(make_target(num_threads=4)), dict[int, float]()

    class FourInTurn:
        """Stands for a team of four; nobody answers the first, which gives up."""

        def run(self, work: Callable[[int], object]) -> list[float]:
            for number in (3, 2):
                start_s = time.perf_counter()
                work(number)
                sides[number] = time.perf_counter() - start_s
            return [1.0, 1.0, 0.0, 0.0]

    assert meter.run_s(cast(PinnedTeam, FourInTurn())) is None
    assert max(sides.values()) < 1e-4  # others would look a million times
