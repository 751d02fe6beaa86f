"""Tune one operator: python scripts/tune.py task=conv2d task.in_channels=96 search.trials=128.

The winner is verified, timed beside libraries and saved. The same hydra.run.dir continues a run. With
tasks=tasks.yaml all tasks of a list are tuned together.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from omegaconf import MISSING

from codegen.measure.config import MeasureConfig
from codegen.measure.pool import MeasurePool
from codegen.ops import Operator, make_operator
from codegen.schedule import build_space
from datasets.tasks import Task
from scripts.learning.guide import Guide
from scripts.options.gpu_target import GpuTargetConfig
from scripts.options.groups import listed_tasks, read_task, register_groups
from scripts.running.display import Ticker, progress, say, show_table
from scripts.running.launch import Run, launch
from scripts.running.outputs import Metrics
from scripts.tuning.gpu_tuning import GpuTuning, require_measure
from scripts.tuning.measured_search import (
    PoolMeasurer,
    reproduce_command,
    search_identity,
    search_schedules,
    trial_reporter,
    tuning_run,
    write_history,
)
from scripts.tuning.winner import choose_winner, compare, comparison_rows, save_winner, winner_metrics
from search.journal import open_journal
from search.scheduler import ScheduleConfig, ScheduledTask, tune_tasks
from search.tuner import Trial, TuningRun


@dataclass(frozen=True, kw_only=True)
class Tune:
    """``tasks`` is a list that ``tasks.py`` wrote, in place of ``task``; ``name`` takes one task of it.

    Several tasks share ``search.trials`` times their number, by the rule of ``schedule``, so that the sum of
    their latencies, each as often as the network runs it, falls fastest; each gets a folder of its name.

    ``checkpoint`` is a file, ``shipped``, or ``none`` for a model that learns from the trials alone.

    The ``num_finalists`` fastest candidates are measured again, in turn, before one is chosen; on a GPU
    target with ``search.measure=false`` as many are compiled, verified and written, and none is timed. With
    ``winograd=false`` 3 x 3 convolutions are summed as they are defined, with the smaller rounding error.
    """

    seed: int = 0
    task: Any = MISSING
    tasks: str | None = None
    name: str | None = None
    target: Any = MISSING
    model: Any = MISSING
    loss: Any = MISSING
    checkpoint: str = "shipped"
    search: Any = MISSING
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    measure: MeasureConfig = field(default_factory=MeasureConfig)
    num_finalists: int = 5
    winograd: bool = True
    logger: Any = MISSING

    def __post_init__(self) -> None:
        if self.num_finalists < 1:
            raise ValueError(f"num_finalists must be at least 1, got {self.num_finalists}")


def run(run: Run[Tune]) -> Metrics:
    """Search, decide between the finalists, verify, compare, save."""
    config = run.config
    listed = listed_tasks(Path(config.tasks), config.name) if config.tasks else []
    if len(listed) > 1:
        return tune_list(run, listed)
    name, operator = (listed[0].name, _operator(listed[0])) if listed else read_task(config.task)
    return _tune_one(run, name, operator)


def _operator(task: Task) -> Operator:
    return make_operator(task.operator, task.parameters)


def _tune_one(run: Run[Tune], name: str, operator: Operator) -> Metrics:
    config, start_s = run.config, time.monotonic()
    if isinstance(config.target, GpuTargetConfig):
        tuning = GpuTuning(config.search, config.measure, config.target, config.num_finalists, config.seed)
        return tuning.run(name, operator, run.folder, run.logger)
    require_measure(config.search)
    space = build_space(operator.program(), config.target.detect(), winograd=config.winograd)
    guide = Guide(config.model, config.loss, config.checkpoint if config.search.uses_model else "none")
    predictor = guide.predictor(space, config.seed)
    say(f"{name} on {space.target.name}: {space.count():.3g} schedules")
    with MeasurePool(config.measure, reproduce_command) as pool, progress("tuning") as tick:
        on_trial = trial_reporter(tick, config.search.trials, run.logger)
        measurer = PoolMeasurer(pool, operator, space, config.seed)
        identity = search_identity(config.search, guide, measurer, config.measure, config.seed)
        with open_journal(run.folder / "journal.jsonl", identity) as journal:
            result = search_schedules(config.search, predictor, measurer, config.seed, journal, on_trial)
        write_history(run.folder / "history.csv", result.history)
        winner = choose_winner(measurer.measure_finalists(result, config.num_finalists), space)
    kernel = save_winner(winner, operator, run.folder / "kernel")
    times = compare(operator, kernel, config.seed, errors=winner.errors)
    show_table(name, ["kernel", "ms", "GFLOP/s", "correct"], comparison_rows(operator, times))
    say(f"the kernel is in {run.folder / 'kernel'}, every trial in {run.folder / 'history.csv'}")
    return {
        **winner_metrics(operator, winner, times),
        "task": name,
        "trials": len(result.history),
        "num_failed": sum(trial.latency_s is None for trial in result.history),
        "stop_reason": result.stop_reason,
        "wall_s": time.monotonic() - start_s,
    }


@dataclass(frozen=True)
class _Listed:
    """A task of a list, as far as it is tuned."""

    name: str
    operator: Operator
    measurer: PoolMeasurer
    run: TuningRun
    count: int


def tune_list(run: Run[Tune], tasks: Sequence[Task]) -> Metrics:
    """Tune the tasks together; a folder for each, and the network's time in ``latency_s``."""
    config, start_s = run.config, time.monotonic()
    _check_list(config)
    with MeasurePool(config.measure, reproduce_command) as pool, ExitStack() as stack:
        with progress("tuning") as tick:
            listed = _prepare(run, tasks, pool, tick, stack)
            scheduled = [
                ScheduledTask(t.name, t.run, t.operator.operator_name, t.operator.flops, t.count)
                for t in listed
            ]
            num_trials = config.search.trials * len(tasks)
            tune_tasks(scheduled, num_trials, config.schedule, np.random.default_rng(config.seed))
        values: dict[str, float | int | str] = {}
        for each in listed:
            values |= _finish(run, each)
    tuned = [each for each in listed if f"latency_s_{each.name}" in values]
    rows = [(t.name, t.count, len(t.run.history), 1e3 * float(values[f"latency_s_{t.name}"])) for t in tuned]
    show_table(f"{len(tuned)} of {len(listed)} tasks", ["task", "count", "trials", "ms"], rows)
    return {
        **values,
        "latency_s": sum(t.count * float(values[f"latency_s_{t.name}"]) for t in tuned),
        "num_tasks": len(listed),
        "num_tuned": len(tuned),
        "trials": sum(len(t.run.history) for t in listed),
        "wall_s": time.monotonic() - start_s,
    }


def _check_list(config: Tune) -> None:
    if isinstance(config.target, GpuTargetConfig):
        raise ValueError("several tasks need a CPU target; for a GPU choose one of them by name=")
    require_measure(config.search)
    if config.search.max_elapsed_s is not None:
        raise ValueError("several tasks share search.trials; search.max_elapsed_s is for one, chosen by name")


def _prepare(
    run: Run[Tune], tasks: Sequence[Task], pool: MeasurePool, tick: Ticker, stack: ExitStack
) -> list[_Listed]:
    """A run for each task, its journal open in ``stack``."""
    config, target = run.config, run.config.target.detect()
    num_trials = config.search.trials * len(tasks)
    guide = Guide(config.model, config.loss, config.checkpoint if config.search.uses_model else "none")
    listed: list[_Listed] = []

    def on_trial(_: Trial) -> None:
        num_done = sum(len(each.run.history) for each in listed)
        tick(num_done, num_trials)
        best_s = [_best_latency_s(each) for each in listed]
        network_s = sum(each.count * s for each, s in zip(listed, best_s) if s is not None)
        if len(listed) == len(tasks) and None not in best_s:
            run.logger.log(num_done, {"latency_s": network_s})

    for task in tasks:
        operator = _operator(task)
        space = build_space(operator.program(), target, winograd=config.winograd)
        measurer = PoolMeasurer(pool, operator, space, config.seed)
        identity = search_identity(config.search, guide, measurer, config.measure, config.seed)
        journal = stack.enter_context(open_journal(run.folder / task.name / "journal.jsonl", identity))
        predictor = guide.predictor(space, config.seed)
        budget = replace(config.search.budget(), num_trials=num_trials)
        search = tuning_run(config.search, budget, predictor, measurer, config.seed, journal, on_trial)
        listed.append(_Listed(task.name, operator, measurer, search, task.count))
    return listed


def _best_latency_s(task: _Listed) -> float | None:
    return task.run.history[-1].best_latency_s if task.run.history else None


def _finish(run: Run[Tune], task: _Listed) -> dict[str, float | int | str]:
    """History and, if anything ran, the winner as a kernel; a few metrics under the task's name."""
    folder, result = run.folder / task.name, task.run.result()
    write_history(folder / "history.csv", result.history)
    trials = {f"trials_{task.name}": len(result.history)}
    if _best_latency_s(task) is None:
        say(f"{task.name}: no schedule could be measured; {folder / 'history.csv'} says why")
        return dict(trials)
    finalists = task.measurer.measure_finalists(result, run.config.num_finalists)
    winner = choose_winner(finalists, task.measurer.space)
    kernel = save_winner(winner, task.operator, folder / "kernel")
    times = compare(task.operator, kernel, run.config.seed, errors=winner.errors)
    found = winner_metrics(task.operator, winner, times)
    kept = {f"{key}_{task.name}": found[key] for key in ("latency_s", "vs_best", "correct") if key in found}
    return {**trials, **kept}


if __name__ == "__main__":
    register_groups()
    launch("tune", Tune, run)
