"""Tune one operator: python scripts/tune.py task=conv2d task.in_channels=96 search.trials=128.

The winner is verified, timed beside libraries and saved. The same hydra.run.dir continues a run. With
tasks=tasks.yaml all tasks of a list are tuned together.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.running.interruption import end_quietly_when_interrupted

end_quietly_when_interrupted()

from omegaconf import MISSING

from codegen.measure.config import MeasureConfig
from codegen.measure.pool import MeasurePool
from codegen.ops import Operator, make_operator
from codegen.schedule import build_space
from codegen.target import Target
from datasets.tasks import Task
from scripts.learning.guide import Guide
from scripts.options.gpu_target import GpuTargetConfig
from scripts.options.groups import listed_tasks, read_task, register_groups
from scripts.running.display import say, show_table
from scripts.running.launch import Run, launch
from scripts.running.outputs import Metrics
from scripts.tuning.earlier_trials import Conditions
from scripts.tuning.gpu_tuning import GpuGuide, GpuTuning, require_measure
from scripts.tuning.lessons import teach
from scripts.tuning.measured_search import (
    PoolMeasurer,
    journaled_search,
    reproduce_command,
    search_identity,
)
from scripts.tuning.outcomes import time_metrics, time_text
from scripts.tuning.task_list import ListTuning
from scripts.tuning.warm_start import Earlier, read_earlier, warm_start_metrics, warm_start_of
from scripts.tuning.winner import (
    choose_winner,
    compare,
    comparison_table,
    comparison_watch,
    save_winner,
    unsteady_text,
    winner_metrics,
)
from search.scheduler import ScheduleConfig


@dataclass(frozen=True, kw_only=True)
class Tune:
    """``tasks`` is a list that ``tasks.py`` wrote, in place of ``task``; ``name`` takes one task of it.

    Several tasks share ``search.trials`` times their number, by the rule of ``schedule``, so that the sum of
    their latencies, each as often as the network runs it, falls fastest; each gets a folder of its name.
    With ``learn_together`` the model of a task learns from the trials of others of its operator as well.

    ``warm_start`` is the folder of an earlier run or a file of records: the trials of the same task on the
    same target count as if they had been made, and records of others of its operator are learnt from.

    ``checkpoint`` is a file, ``shipped``, or ``none`` for a model that learns from the trials alone.

    The ``num_finalists`` fastest candidates are measured again, in turn, before one is chosen. On a GPU
    target the analytic model guides the search, and beside it the model of ``checkpoint``, if that is a file;
    with ``search.measure=false`` their best ``search.trials`` candidates are compiled, ``num_finalists`` of
    them verified and written, none timed.
    With ``winograd=false`` 3 x 3 convolutions are summed as they are defined, with a smaller rounding error.
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
    learn_together: bool = True
    warm_start: str | None = None
    logger: Any = MISSING

    def __post_init__(self) -> None:
        if self.num_finalists < 1:
            raise ValueError(f"num_finalists must be at least 1, got {self.num_finalists}")
        if self.warm_start == "":
            raise ValueError("warm_start= names nothing; give the folder of a tuning run, or records")


def run(run: Run[Tune]) -> Metrics:
    """Search, decide between the finalists, verify, compare, save."""
    config = run.config
    if config.warm_start is not None and isinstance(config.target, GpuTargetConfig):
        raise ValueError("warm_start is for CPU targets: on a GPU the analytic model guides the search")
    listed = listed_tasks(Path(config.tasks), config.name) if config.tasks else []
    if len(listed) > 1:
        return _tune_all(run, listed)
    if listed:
        return _tune_one(run, listed[0].name, make_operator(listed[0].operator, listed[0].parameters))
    return _tune_one(run, *read_task(config.task))


def _tune_one(run: Run[Tune], name: str, operator: Operator) -> Metrics:
    config, start_s = run.config, time.monotonic()
    if isinstance(config.target, GpuTargetConfig):
        learned = None
        if config.checkpoint not in ("none", "shipped") and config.search.uses_model:
            learned = Guide(config.model, config.loss, config.checkpoint)
        tuning = GpuTuning(
            config.search,
            config.measure,
            config.target,
            config.num_finalists,
            config.seed,
            guide=GpuGuide(learned=learned),
        )
        return tuning.run(name, operator, run.folder, run.logger)
    require_measure(config.search)
    space = build_space(operator.program(), config.target.detect(), winograd=config.winograd)
    others = () if config.search.uses_model else None
    warm = warm_start_of(_earlier(run, space.target), operator, space, others)
    guide = Guide(config.model, config.loss, config.checkpoint if config.search.uses_model else "none")
    # Where plans are made beside building, a core is left to the latter.
    num_threads = max(space.target.num_threads - int(config.search.budget().plan.is_ahead), 1)
    predictor = guide.predictor(space, config.seed, num_threads)
    say(f"{name} on {space.target.name}: {space.count():.3g} schedules")
    if text := warm.text():
        say(text)
    teach(predictor, operator, warm.lessons)
    with MeasurePool(config.measure, reproduce_command) as pool:
        measurer = PoolMeasurer(pool, operator, space, config.seed)
        identity = search_identity(config.search, guide, measurer, config.measure, config.seed)
        identity |= warm.identity()
        result = journaled_search(
            config.search, predictor, measurer, identity, run.folder, run.logger, warm.known
        )
        say(time_text(result))
        winner = choose_winner(measurer.measure_finalists(result, config.num_finalists), space)
    kernel = save_winner(winner, operator, run.folder / "kernel")
    with comparison_watch(pool, space.target, config.measure, time.monotonic() - start_s) as watch:
        times = compare(operator, kernel, config.seed, errors=winner.errors, watch=watch)
    show_table(name, *comparison_table(operator, times))
    if text := unsteady_text(times):
        say(text)
    say(f"the kernel is in {run.folder / 'kernel'}, every trial in {run.folder / 'history.csv'}")
    return {
        **winner_metrics(operator, winner, times),
        **time_metrics(result),
        **warm_start_metrics(warm),
        "task": name,
        "trials": len(result.history),
        "num_failed": sum(trial.latency_s is None for trial in result.history),
        "stop_reason": result.stop_reason,
        "wall_s": time.monotonic() - start_s,
    }


def _tune_all(run: Run[Tune], tasks: list[Task]) -> Metrics:
    config = run.config
    if isinstance(config.target, GpuTargetConfig):
        raise ValueError("several tasks need a CPU target; for a GPU choose one of them by name=")
    require_measure(config.search)
    tuning = ListTuning(
        config.search,
        config.schedule,
        Guide(config.model, config.loss, config.checkpoint if config.search.uses_model else "none"),
        config.measure,
        config.num_finalists,
        config.winograd,
        config.learn_together and config.search.uses_model,
        config.seed,
    )
    target = config.target.detect()
    return tuning.run(tasks, target, run.folder, run.logger, _earlier(run, target))


def _earlier(run: Run[Tune], target: Target) -> Earlier | None:
    """What ``warm_start`` names, if anything."""
    config = run.config
    if config.warm_start is None:
        return None
    conditions = Conditions(target, config.measure.flush_cache)
    return read_earlier(config.warm_start, run.folder, conditions, config.winograd)


if __name__ == "__main__":
    register_groups()
    launch("tune", Tune, run)
