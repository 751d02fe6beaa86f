"""Tuning the tasks of a list together: they share the trials by what each is expected to gain."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from codegen.measure.config import MeasureConfig
from codegen.measure.pool import MeasurePool
from codegen.measure.steadiness import Watch
from codegen.ops import Operator, make_operator
from codegen.schedule import Space, build_space
from codegen.target import Target
from costmodel.predictor import Predictor
from datasets.tasks import Task
from scripts.learning.guide import Guide
from scripts.options.searches import SearchOption
from scripts.running.display import Ticker, duration, progress, say, show_table
from scripts.running.loggers import Logger
from scripts.running.outputs import Metrics
from scripts.tuning.lessons import Lesson, teach
from scripts.tuning.measured_search import (
    PoolMeasurer,
    reproduce_command,
    search_identity,
    tuning_run,
)
from scripts.tuning.outcomes import list_stop_text, time_metrics, time_text, write_history
from scripts.tuning.warm_start import Earlier, WarmStart, warm_start_metrics, warm_start_of
from scripts.tuning.winner import (
    Winner,
    choose_winner,
    compare,
    comparison_watch,
    save_winner,
    unsteady_text,
    winner_metrics,
)
from search.journal import open_journal
from search.scheduler import Schedule, ScheduleConfig, ScheduledTask, tune_tasks
from search.trials import Trial
from search.tuner import TuningRun


@dataclass(frozen=True)
class _Ready:
    """A task of a list and what its run is told, before there is one."""

    task: Task
    operator: Operator
    space: Space
    warm: WarmStart


@dataclass(frozen=True)
class _Listed:
    """A task of a list, as far as it is tuned."""

    name: str
    operator: Operator
    measurer: PoolMeasurer
    run: TuningRun
    count: int
    predictor: Predictor
    warm: WarmStart

    def lesson(self) -> Lesson:
        """What it can teach others by now."""
        candidates, latencies_s, _ = self.run.outcomes()
        return Lesson(self.operator, self.predictor.lesson(candidates, latencies_s))


@dataclass(frozen=True)
class ListTuning:
    """``search.trials`` times the number of tasks, and the seconds, are divided by ``tune_tasks``."""

    search: SearchOption
    schedule: ScheduleConfig
    guide: Guide
    measure: MeasureConfig
    num_finalists: int
    winograd: bool
    learn_together: bool
    seed: int

    def run(
        self,
        tasks: Sequence[Task],
        target: Target,
        folder: Path,
        logger: Logger,
        earlier: Earlier | None = None,
    ) -> Metrics:
        """A folder for each task, with its journal, history and kernel; the network's time in ``latency_s``.

        ``earlier`` trials give every task a warm start.

        ValueError if plans are to be made ahead, or a name leaves the folder.
        """
        _check_names(tasks)
        start_s, num_trials = time.monotonic(), (self.search.budget().num_trials or 0) * len(tasks)
        if self.search.budget().plan.is_ahead:
            raise ValueError("search.plan.is_ahead is for one task, chosen by name: several share the trials")
        ready = self._ready(tasks, target, earlier)
        with MeasurePool(self.measure, reproduce_command) as pool, ExitStack() as stack:
            with progress("tuning") as tick:
                listed = self._prepare(ready, folder, logger, pool, tick, stack)
                scheduled = [
                    ScheduledTask(t.name, t.run, t.operator.operator_name, t.operator.flops, t.count)
                    for t in listed
                ]
                rng, max_s = np.random.default_rng(self.seed), self.search.budget().max_elapsed_s
                schedule = tune_tasks(scheduled, num_trials, self.schedule, rng, max_s)
            self._say_why(schedule, listed)
            winners = [self._save_winner(each, folder / each.name) for each in listed]
        values: dict[str, float | int | str] = {}
        with comparison_watch(pool, target, self.measure, time.monotonic() - start_s) as watch:
            for each, winner in zip(listed, winners, strict=True):
                values |= self._compare(each, winner, watch)
        summary = {
            **_summary(listed, values),
            **time_metrics(*(each.run.result() for each in listed)),
            **warm_start_metrics(*(each.warm for each in listed)),
            "stop_reason": schedule.stop_reason,
            "wall_s": time.monotonic() - start_s,
        }
        say(f"kernel/ and history.csv of each task are in a folder of its name in {folder}")
        return {**values, **summary}

    def _ready(self, tasks: Sequence[Task], target: Target, earlier: Earlier | None) -> list[_Ready]:
        """Every task with its warm start, and a sentence on that."""
        operators = [make_operator(task.operator, task.parameters) for task in tasks]
        programs = [operator.program() for operator in operators]
        # Records of what teaches live would teach it twice.
        live = [program.hash for program in programs] if self.learn_together else []
        ready: list[_Ready] = []
        for task, operator, program in zip(tasks, operators, programs, strict=True):
            space = build_space(program, target, winograd=self.winograd)
            warm = warm_start_of(earlier, operator, space, live if self.search.uses_model else None)
            if text := warm.text(task.name):
                say(text)
            ready.append(_Ready(task, operator, space, warm))
        return ready

    def _prepare(
        self,
        ready: Sequence[_Ready],
        folder: Path,
        logger: Logger,
        pool: MeasurePool,
        tick: Ticker,
        stack: ExitStack,
    ) -> list[_Listed]:
        """A run for each task, its journal open in ``stack``."""
        num_trials = (self.search.budget().num_trials or 0) * len(ready)
        budget = replace(self.search.budget(), num_trials=num_trials, max_elapsed_s=None)
        listed: list[_Listed] = []

        def on_trial(_: Trial) -> None:
            num_done = sum(len(each.run.history) for each in listed)
            tick(num_done, num_trials)
            best_s = [each.run.best_latency_s for each in listed]
            network_s = sum(each.count * s for each, s in zip(listed, best_s, strict=True) if s is not None)
            if len(listed) == len(ready) and None not in best_s:
                logger.log(num_done, {"latency_s": network_s})

        def taught(number: int) -> None:
            own, others = listed[number], [each for place, each in enumerate(listed) if place != number]
            name = own.operator.operator_name
            alike = (each for each in others if each.operator.operator_name == name and self.learn_together)
            teach(own.predictor, own.operator, [*own.warm.lessons, *(each.lesson() for each in alike)])

        for number, each in enumerate(ready):
            measurer = PoolMeasurer(pool, each.operator, each.space, self.seed)
            identity = search_identity(self.search, self.guide, measurer, self.measure, self.seed)
            identity |= {"learn_together": True} if self.learn_together else {}
            identity |= each.warm.identity()
            name = each.task.name
            journal = stack.enter_context(open_journal(folder / name / "journal.jsonl", identity))
            predictor = self.guide.predictor(each.space, self.seed)
            hook = partial(taught, number) if self.learn_together or each.warm.lessons else None
            search = tuning_run(
                self.search, budget, predictor, measurer, self.seed, journal, on_trial, hook, each.warm.known
            )
            listed.append(
                _Listed(name, each.operator, measurer, search, each.task.count, predictor, each.warm)
            )
        return listed

    def _say_why(self, schedule: Schedule, listed: Sequence[_Listed]) -> None:
        """What the seconds went into, and what ended the search, if that is not plain."""
        results = {each.name: each.run.result() for each in listed}
        say(time_text(*results.values()))
        early = [name for name, result in results.items() if result.stop_reason == "gain"]
        if text := list_stop_text(schedule.stop_reason, early, self.search.budget()):
            say(text)

    def _save_winner(self, task: _Listed, folder: Path) -> Winner | None:
        """History and, if anything ran or is known, the winner, as it was saved."""
        result = task.run.result()
        write_history(folder / "history.csv", result.history)
        if not result.history and result.best_latency_s is None:
            say(f"{task.name}: the budget ended before its first trial")
            return None
        finalists = task.measurer.measure_finalists(result, self.num_finalists)
        if not finalists or finalists[0].summary is None:
            say(f"{task.name}: no schedule could be measured; {folder / 'history.csv'} says why")
            return None
        winner = choose_winner(finalists, task.measurer.space)
        return replace(winner, kernel=save_winner(winner, task.operator, folder / "kernel"))

    def _compare(self, task: _Listed, winner: Winner | None, watch: Watch | None) -> Metrics:
        """A few metrics under the task's name, more if there is a winner to compare with libraries."""
        values = {f"trials_{task.name}": len(task.run.history)}
        if winner is None:
            return values
        times = compare(task.operator, winner.kernel, self.seed, errors=winner.errors, watch=watch)
        if text := unsteady_text(times):
            say(f"{task.name}: {text}")
        found = winner_metrics(task.operator, winner, times)
        kept = ("latency_s", "vs_best", "correct")
        return {**values, **{f"{key}_{task.name}": found[key] for key in kept if key in found}}


def _check_names(tasks: Sequence[Task]) -> None:
    """Lists come from elsewhere: what they name must not lead out of the run's folder."""
    for task in tasks:
        if task.name in (".", "..") or Path(task.name).name != task.name:
            raise ValueError(f"each task gets a folder of its name, which must hold no /, got {task.name!r}")


def _summary(listed: Sequence[_Listed], values: Metrics) -> Metrics:
    """Show the tuned tasks; what concerns all of them."""
    found = [(task, values.get(f"latency_s_{task.name}")) for task in listed]
    tuned = [(task, float(latency_s)) for task, latency_s in found if latency_s is not None]
    rows = [
        (task.name, task.count, len(task.run.history), duration(s), values.get(f"vs_best_{task.name}", ""))
        for task, s in tuned
    ]
    header = ["task", "count", "trials", "latency", "faster than the best library by"]
    show_table(f"{len(tuned)} of {len(listed)} tasks", header, rows)
    return {
        "latency_s": sum(task.count * s for task, s in tuned),
        "num_tasks": len(listed),
        "num_tuned": len(tuned),
        "trials": sum(len(task.run.history) for task in listed),
    }
