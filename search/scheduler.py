"""Trials shared among several tasks: each plan goes to the task where it should save most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from search.trials import StopReason, Trial
from search.tuner import TuningRun


@dataclass(frozen=True, kw_only=True)
class ScheduleConfig:
    """The rule of Ansor (arXiv:2006.06762, section 6), with its constants.

    ``past_weight`` is what past gains count beside what may still be gained; a task may hope for the FLOP/s
    of the best similar task, divided by ``similarity`` (its beta); ``epsilon`` is the share of turns that go
    to a task at random. ``num_fair_plans`` of every task come first.
    """

    past_weight: float = 0.2
    similarity: float = 2.0
    epsilon: float = 0.05
    num_fair_plans: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.past_weight <= 1 or not 0 <= self.epsilon <= 1:
            raise ValueError(
                f"past_weight and epsilon must be in [0, 1], got {self.past_weight} and {self.epsilon}"
            )
        if not 0 < self.similarity < float("inf"):
            raise ValueError(f"similarity must be positive, got {self.similarity}")
        if self.num_fair_plans < 1:
            raise ValueError(f"num_fair_plans must be at least 1, got {self.num_fair_plans}")


@dataclass(frozen=True)
class ScheduledTask:
    """A task that takes turns. A network runs it ``count`` times, at ``flops`` each.

    Tasks of one ``kind`` are similar: what one reaches, others may.
    """

    name: str
    run: TuningRun
    kind: str = ""
    flops: float = 1.0
    count: int = 1


@dataclass(frozen=True)
class Schedule:
    """Who had which turn, by name, and why there was no further one.

    Where all runs ended by themselves, ``gain`` says that one or more could have gone on.
    """

    turns: tuple[str, ...]
    stop_reason: StopReason


def tune_tasks(
    tasks: Sequence[ScheduledTask],
    num_trials: int,
    config: ScheduleConfig,
    rng: np.random.Generator,
    max_elapsed_s: float | None = None,
) -> Schedule:
    """Share ``num_trials``, and ``max_elapsed_s`` seconds of tuning, among the tasks' runs.

    What is minimised is the sum of the best latencies, each times its count. A run whose own budget is
    used up drops out. Turns of the fair start take equal shares of the seconds that are left, so that long
    plans of some tasks leave the others theirs. Turns depend on ``rng``, on what was found and on the seconds
    that trials took alone, so runs with journals that were killed take the same turns again, replayed, and
    go on exactly. A task of which all trials failed gets no more than what is drawn at random.

    Raises:
        ValueError: there are no tasks, or two of one name.
    """
    names = [task.name for task in tasks]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"tasks need names of their own, got {names}")
    turns: list[str] = []
    is_open = [True] * len(tasks)
    while any(is_open):
        left = num_trials - sum(len(task.run.history) for task in tasks)
        left_s = None if max_elapsed_s is None else max_elapsed_s - sum(task.run.elapsed_s for task in tasks)
        if left <= 0:
            return Schedule(tuple(turns), "trials")
        if left_s is not None and left_s <= 0:
            return Schedule(tuple(turns), "seconds")
        num_fair = _num_fair_turns(tasks, is_open, turns, config)
        chosen = _next_turn(tasks, is_open, turns, config, rng)
        is_open[chosen] = tasks[chosen].run.step(left, left_s and left_s / max(num_fair, 1))
        if is_open[chosen]:
            turns.append(names[chosen])
    reasons = {task.run.result().stop_reason for task in tasks}
    return Schedule(tuple(turns), next(reason for reason in _REASONS if reason in reasons))


_REASONS: tuple[StopReason, ...] = ("gain", "trials", "seconds", "exhausted")
"""Of runs that all ended by themselves the first counts."""


def _num_fair_turns(
    tasks: Sequence[ScheduledTask], is_open: Sequence[bool], turns: Sequence[str], config: ScheduleConfig
) -> int:
    """Turns until the start was fair."""
    served = _served(tasks, is_open, turns)
    return sum(max(config.num_fair_plans - num, 0) for num in served.values())


def _served(tasks: Sequence[ScheduledTask], is_open: Sequence[bool], turns: Sequence[str]) -> dict[int, int]:
    """Turns so far, by the number of a task that may have more."""
    return {number: turns.count(tasks[number].name) for number, still in enumerate(is_open) if still}


def _next_turn(
    tasks: Sequence[ScheduledTask],
    is_open: Sequence[bool],
    turns: Sequence[str],
    config: ScheduleConfig,
    rng: np.random.Generator,
) -> int:
    """The least served while the start is fair; then the highest expected gain, but for some at random."""
    served = _served(tasks, is_open, turns)
    candidates = list(served)
    least = min(candidates, key=lambda number: served[number])
    if served[least] < config.num_fair_plans:
        return least
    if rng.random() < config.epsilon:
        return int(rng.choice(candidates))
    gains = [gain_per_trial(task, tasks, config) for task in tasks]
    return max(candidates, key=lambda number: gains[number])


def gain_per_trial(task: ScheduledTask, tasks: Sequence[ScheduledTask], config: ScheduleConfig) -> float:
    """Seconds of the network's time that the next trial should save; 0 while all trials failed.

    Past: what the second half of the trials saved, per trial. Future: the larger of two guesses, that
    latency falls like 1 / trials, known ones included, and that it reaches the best FLOP/s of its kind over
    ``similarity``.
    """
    history = task.run.history
    best_s = history[-1].best_latency_s if history else None
    if best_s is None:
        return 0.0
    window = (len(history) + 1) // 2
    before_s = history[-window - 1].best_latency_s if window < len(history) else None
    past = 0.0 if before_s is None else (before_s - best_s) / window
    fastest = max(_flop_rate(other, other.run.history) for other in tasks if other.kind == task.kind)
    # What only moves data has no FLOP/s to compare.
    hoped_s = best_s - config.similarity * task.flops / fastest if fastest > 0 else 0.0
    future = max(best_s / (task.run.num_known + len(history)), hoped_s)
    return task.count * (config.past_weight * past + (1 - config.past_weight) * future)


def _flop_rate(task: ScheduledTask, history: Sequence[Trial]) -> float:
    best_s = history[-1].best_latency_s if history else None
    return 0.0 if best_s is None else task.flops / best_s
