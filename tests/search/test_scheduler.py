"""Several tasks share the trials: who gets them, and that a killed run takes the same turns."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from codegen.measure.measurement import Failure, Measurement
from codegen.schedule.candidates import Candidates
from search.arms import PlanConfig
from search.journal import Journal, open_journal
from search.known import Known
from search.random_search import RandomSearch
from search.scheduler import ScheduleConfig, ScheduledTask, gain_per_trial, tune_tasks
from search.trials import TuneConfig
from search.tuner import TuningRun
from tests.search.killing import lines_without_times, output_despite_kills, total_bytes
from tests.search.spaces import KnobSpace
from tests.search.task_list_run import journals, task_list_run
from tests.search.test_tuner import ClockedMeasurer, FakeClock

ROOT = Path(__file__).resolve().parents[2]
GREEDY = ScheduleConfig(epsilon=0.0)


@dataclass
class Falling:
    """Trial t takes ``floor_s + gain_s / t``; ``floor_s`` None fails."""

    floor_s: float | None
    gain_s: float
    num_measured: int = 0

    def measure(self, candidates: Candidates) -> Iterator[Measurement]:
        for _ in range(len(candidates)):
            self.num_measured += 1
            if self.floor_s is None:
                yield Measurement((), Failure("runtime", "always"))
            else:
                yield Measurement((self.floor_s + self.gain_s / self.num_measured,))


def task(
    name: str,
    floor_s: float | None,
    gain_s: float,
    count: int = 1,
    num_trials: int | None = 400,
    flops: float = 1.0,
    kind: str | None = None,
    journal: Journal | None = None,
    known: Known | None = None,
) -> ScheduledTask:
    space = KnobSpace()
    config = TuneConfig(num_trials=num_trials, plan=PlanConfig(num_trials=10))
    measurer = Falling(floor_s, gain_s)
    rng = np.random.default_rng(1)
    run = TuningRun(space, RandomSearch(space), measurer, None, config, rng, journal, known=known)
    return ScheduledTask(name, run, name if kind is None else kind, flops, count)


def share(tasks: list[ScheduledTask], num_trials: int, config: ScheduleConfig = GREEDY) -> list[str]:
    schedule = tune_tasks(tasks, num_trials, config, np.random.default_rng(0))
    assert sum(len(each.run.history) for each in tasks) <= num_trials
    return list(schedule.turns)


def test_every_task_starts_before_any_gets_more() -> None:
    tasks = [task("a", 1.0, 0.0), task("b", 1e-6, 0.0), task("c", 1e3, 0.0)]
    assert share(tasks, 60, ScheduleConfig(epsilon=0.0, num_fair_plans=2)) == ["a", "b", "c"] * 2


def test_the_seconds_of_a_task_are_those_of_its_own_turns() -> None:
    clock = FakeClock()
    space, config = KnobSpace(), TuneConfig(num_trials=40, plan=PlanConfig(num_trials=10))
    tasks = []
    for name in ("a", "b"):
        rng, measurer = np.random.default_rng(1), ClockedMeasurer(clock)
        run = TuningRun(space, RandomSearch(space), measurer, None, config, rng, clock=clock)
        tasks.append(ScheduledTask(name, run))
    assert len(set(share(tasks, 80))) == 2
    for each in tasks:
        assert [trial.elapsed_s for trial in each.run.history] == list(range(1, 41))


def test_trials_go_where_they_save_most() -> None:
    tasks = [task("heavy", 1.0, 10.0), task("light", 0.01, 0.1)]
    turns = share(tasks, 300)
    assert turns.count("heavy") > 3 * turns.count("light")


def test_what_a_network_runs_often_gets_more() -> None:
    turns = share([task("once", 1.0, 1.0), task("often", 1.0, 1.0, count=20)], 300)
    assert turns.count("often") > 3 * turns.count("once")


def test_what_a_similar_task_reached_may_be_hoped_for() -> None:
    slow, fast = task("slow", 1.0, 0.0, kind="matmul"), task("fast", 0.01, 0.0, kind="matmul")
    share([slow, fast], 20)
    # By Ansor's formula: 10 trials of 1 s alone, and 2 * 0.01 s hoped for beside a task of the same FLOP.
    assert gain_per_trial(slow, [slow], GREEDY) == pytest.approx(0.8 * 1.0 / 10)
    assert gain_per_trial(slow, [slow, fast], GREEDY) == pytest.approx(0.8 * (1.0 - 2 * 0.01))
    assert gain_per_trial(fast, [slow, fast], GREEDY) == pytest.approx(0.8 * 0.01 / 10)


def test_less_is_expected_of_a_task_of_which_much_is_known() -> None:
    warm = task("warm", 1.0, 0.0, known=Known(KnobSpace().enumerate(30), np.full(30, 1.0)))
    warm.run.step()
    assert gain_per_trial(warm, [warm], GREEDY) == pytest.approx(0.8 * 1.0 / (30 + 10))


def test_tasks_that_only_move_data_take_turns() -> None:
    turns = share([task("transpose", 1.0, 1.0, flops=0.0), task("fine", 1.0, 1.0)], 60)
    assert {"transpose", "fine"} == set(turns)


def test_a_task_that_only_fails_does_not_eat_the_budget() -> None:
    turns = share([task("broken", None, 0.0), task("fine", 1.0, 1.0)], 100)
    assert turns == ["broken", *["fine"] * 9]


def test_the_budget_is_met_to_the_trial_and_a_full_run_drops_out() -> None:
    tasks = [task("a", 1.0, 5.0, num_trials=20), task("b", 1.0, 1.0)]
    share(tasks, 73)
    assert [len(each.run.history) for each in tasks] == [20, 53]
    assert tasks[0].run.result().stop_reason == "trials"


def test_all_runs_at_their_end_end_it() -> None:
    tasks = [task("a", 1.0, 0.0, num_trials=20), task("b", None, 0.0, num_trials=20)]
    share(tasks, 1_000)
    assert [len(each.run.history) for each in tasks] == [20, 20]


@pytest.mark.parametrize("share_kept", [0.3, 0.9])
def test_a_run_that_was_killed_takes_the_same_turns(tmp_path: Path, share_kept: float) -> None:
    config = ScheduleConfig(epsilon=0.3)

    def turns() -> list[str]:
        with ExitStack() as stack:
            journals = [
                stack.enter_context(open_journal(tmp_path / name, {"name": name})) for name in ("a", "b")
            ]
            tasks = [
                task("a", 1.0, 3.0, journal=journals[0]),
                task("b", 2.0, 1.0, journal=journals[1]),
            ]
            return share(tasks, 150, config)

    whole = turns()
    texts = {name: (tmp_path / name).read_bytes() for name in ("a", "b")}
    # The task whose turn it was is cut in the middle of a plan, the other is complete up to there.
    for name, text in texts.items():
        lines = text.splitlines(keepends=True)
        kept = round(share_kept * len(lines)) if name == whole[-1] else len(lines)
        (tmp_path / name).write_bytes(b"".join(lines[:kept]))
    assert turns() == whole
    for name, text in texts.items():
        assert (tmp_path / name).read_bytes().count(b"\n") == text.count(b"\n")


@pytest.mark.slow
def test_tasks_killed_at_random_points_take_the_same_turns_and_propose_the_same(tmp_path: Path) -> None:
    undisturbed = tmp_path / "undisturbed"
    whole = task_list_run(undisturbed)
    size = total_bytes(journals(undisturbed))
    dice = random.Random(4)
    for number in range(10):
        folder = tmp_path / str(number)
        command = [sys.executable, str(ROOT / "tests/search/task_list_run.py"), str(folder)]
        output, num_killed = output_despite_kills(command, ROOT, journals(folder), size // 3, dice)
        assert num_killed >= 1
        assert output == whole
        for mine, theirs in zip(journals(folder), journals(undisturbed), strict=True):
            assert lines_without_times(mine) == lines_without_times(theirs)


def timed(
    clock: FakeClock, names: str, num_planned: int = 10, journals: list[Journal] | None = None
) -> list[ScheduledTask]:
    """Tasks whose trials take a second each."""
    tasks, space = [], KnobSpace()
    config = TuneConfig(num_trials=400, plan=PlanConfig(num_trials=num_planned))
    for name, journal in zip(names, journals or [None] * len(names), strict=True):
        rng, measurer = np.random.default_rng(ord(name)), ClockedMeasurer(clock)
        run = TuningRun(space, RandomSearch(space), measurer, None, config, rng, journal, clock=clock)
        tasks.append(ScheduledTask(name, run))
    return tasks


def test_seconds_end_a_list_inside_a_plan() -> None:
    tasks = timed(FakeClock(), "ab")
    schedule = tune_tasks(tasks, 1_000, GREEDY, np.random.default_rng(0), max_elapsed_s=47.0)
    assert schedule.stop_reason == "seconds"
    assert sum(len(each.run.history) for each in tasks) == 47
    assert schedule.turns[:2] == ("a", "b")


def test_trials_may_be_used_up_before_the_seconds() -> None:
    tasks = timed(FakeClock(), "ab")
    schedule = tune_tasks(tasks, 35, GREEDY, np.random.default_rng(0), max_elapsed_s=47.0)
    assert (schedule.stop_reason, sum(len(each.run.history) for each in tasks)) == ("trials", 35)


def test_every_task_has_its_share_of_seconds_too_few_for_a_fair_start() -> None:
    tasks = timed(FakeClock(), "abc", num_planned=64)
    schedule = tune_tasks(tasks, 1_000, GREEDY, np.random.default_rng(0), max_elapsed_s=30.0)
    assert schedule.turns == ("a", "b", "c")
    assert [len(each.run.history) for each in tasks] == [10, 10, 10]


def test_what_a_short_turn_leaves_goes_to_the_others() -> None:
    tasks = timed(FakeClock(), "abc", num_planned=4)
    schedule = tune_tasks(tasks, 1_000, GREEDY, np.random.default_rng(0), max_elapsed_s=30.0)
    assert sum(len(each.run.history) for each in tasks) == 30
    assert len(schedule.turns) == 8


def test_a_task_that_stops_by_its_gain_leaves_its_trials_to_the_others() -> None:
    tasks = [task("flat", 1.0, 0.0), task("fine", 1.0, 50.0)]
    early = TuneConfig(num_trials=400, plan=PlanConfig(num_trials=10), stop_gain=0.01, gain_window=10)
    space, rng = KnobSpace(), np.random.default_rng(1)
    tasks[0] = ScheduledTask(
        "flat", TuningRun(space, RandomSearch(space), Falling(1.0, 0.0), None, early, rng), count=100
    )
    schedule = tune_tasks(tasks, 200, GREEDY, np.random.default_rng(0))
    assert [len(each.run.history) for each in tasks] == [20, 180]
    assert schedule.stop_reason == "trials"
    assert tasks[0].run.result().stop_reason == "gain"


@pytest.mark.parametrize("num_lost", [1, 4, 9])
def test_a_list_with_seconds_that_was_killed_ends_as_it_would_have(tmp_path: Path, num_lost: int) -> None:
    def tuned() -> tuple[str, ...]:
        with ExitStack() as stack:
            paths = [tmp_path / name for name in "abc"]
            journals = [stack.enter_context(open_journal(path, {"name": path.name})) for path in paths]
            # Plans of 64 that the shares of the fair start cut at 10 trials.
            tasks = timed(FakeClock(), "abc", 64, journals)
            config = ScheduleConfig(epsilon=0.3, num_fair_plans=2)
            return tune_tasks(tasks, 1_000, config, np.random.default_rng(0), max_elapsed_s=90.5).turns

    whole = tuned()
    texts = {name: (tmp_path / name).read_bytes() for name in "abc"}
    assert sum(text.count(b'"trial"') for text in texts.values()) == 91
    lines = texts[whole[-1]].splitlines(keepends=True)
    (tmp_path / whole[-1]).write_bytes(b"".join(lines[:-num_lost]))
    for _ in range(2):  # and one that ended does not grow when it is repeated
        assert tuned() == whole
        assert {name: (tmp_path / name).read_bytes() for name in "abc"} == texts


def test_more_seconds_go_on_where_fewer_ended(tmp_path: Path) -> None:
    for seconds, num_trials in ((12.0, 12), (30.0, 30), (30.0, 30)):
        with ExitStack() as stack:
            paths = [tmp_path / name for name in "ab"]
            journals = [stack.enter_context(open_journal(path, {"name": path.name})) for path in paths]
            tasks = timed(FakeClock(), "ab", 10, journals)
            tune_tasks(tasks, 1_000, GREEDY, np.random.default_rng(0), max_elapsed_s=seconds)
            assert sum(len(each.run.history) for each in tasks) == num_trials


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match="names of their own"):
        share([task("a", 1.0, 0.0), task("a", 1.0, 0.0)], 10)
    with pytest.raises(ValueError, match="names of their own"):
        share([], 10)
    with pytest.raises(ValueError, match="epsilon must be in"):
        ScheduleConfig(epsilon=2.0)
    with pytest.raises(ValueError, match="similarity must be positive"):
        ScheduleConfig(similarity=0.0)
    with pytest.raises(ValueError, match="num_fair_plans must be at least 1"):
        ScheduleConfig(num_fair_plans=0)
