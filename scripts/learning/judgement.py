"""How a trained model is judged: its metrics on tasks, beside chance and the noise of measuring."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from costmodel.dataset import FeatureDataset
from costmodel.encoders.baselines import RandomModel
from costmodel.metrics import (
    TaskMetrics,
    average,
    bootstrap_intervals,
    ceiling_metrics,
    prefixed,
    task_metrics,
)
from costmodel.model import CostModel, KnowsUncertainty
from scripts.learning.effort import Effort, Stopwatch
from scripts.running.display import show_table

SHOWN = ("pairwise_accuracy", "top1", "top5", "rmse", "r2", "kendall_tau")


@dataclass(frozen=True)
class JudgedTask:
    """The model's metrics on one program on one target; ``label`` and ``group`` as in ``TaskFeatures``."""

    name: str
    target: str
    label: str
    group: str
    metrics: TaskMetrics


@dataclass(frozen=True)
class Judgement:
    """Averages over ``tasks``; ``intervals`` (95 %) are of the model's averages, groups of tasks drawn anew.

    Metrics that no task has are left out.
    """

    model: TaskMetrics
    random: TaskMetrics
    ceiling: TaskMetrics
    intervals: Mapping[str, tuple[float, float]]
    tasks: Sequence[JudgedTask]

    def flat(self) -> dict[str, float]:
        """For ``metrics.json``: each metric by name, and prefixed with random, ceiling, low and high."""
        lows = {name: low for name, (low, _) in self.intervals.items()}
        highs = {name: high for name, (_, high) in self.intervals.items()}
        named = {
            **self.model,
            **prefixed(self.random, "random"),
            **prefixed(self.ceiling, "ceiling"),
            **prefixed(lows, "low"),
            **prefixed(highs, "high"),
        }
        return {name: value for name, value in named.items() if math.isfinite(value)}

    def csv(self) -> str:
        """The metrics of each task, one row a task."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["task", "target", *self.tasks[0].metrics])
        writer.writerows([task.name, task.target, *task.metrics.values()] for task in self.tasks)
        return text.getvalue()

    def target_rows(self) -> list[tuple[object, ...]]:
        """For a table: target, number of its tasks, the model's averages over them."""
        rows: list[tuple[object, ...]] = []
        for target in dict.fromkeys(task.target for task in self.tasks):
            metrics = [task.metrics for task in self.tasks if task.target == target]
            means = average(metrics)
            rows.append((target, len(metrics), *(means[name] for name in SHOWN)))
        return rows

    def show_targets(self) -> None:
        """Print the averages by target, if there are several."""
        rows = self.target_rows()
        if len(rows) > 1:
            show_table("by target", ["target", "tasks", *SHOWN], rows)

    def rows(self) -> list[tuple[object, ...]]:
        """For a table: metric, model, its interval, random, ceiling."""
        rows: list[tuple[object, ...]] = []
        for name in SHOWN:
            low, high = self.intervals[name]
            interval = f"{low:.3f} to {high:.3f}" if math.isfinite(low) else "of one program: none"
            known = self.ceiling.get(name, math.nan)
            rows.append((name, self.model[name], interval, self.random[name], known))
        return rows


def judge(model: CostModel, data: FeatureDataset, seed: int) -> Judgement:
    """Score every candidate of every task; ValueError if no task holds a comparison."""
    tasks = data.learnable().tasks
    if not tasks:
        raise ValueError(
            f"nothing to judge on: none of {len(data.tasks)} tasks has two comparable candidates"
        )
    chance = RandomModel(seed)
    judged = [
        JudgedTask(
            name=task.name,
            target=task.target_name,
            label=task.label,
            group=task.group,
            metrics=task_metrics(model.score(task.trees), task.labels),
        )
        for task in tasks
    ]
    random = [task_metrics(chance.score(task.trees), task.labels) for task in tasks]
    rng = np.random.default_rng(seed)
    ceilings = [ceiling_metrics(task.latency_s, task.repeat_pairs, rng) for task in tasks]
    scored = [task.metrics for task in judged]
    return Judgement(
        model=average(scored),
        random=average(random),
        ceiling=average([ceiling for ceiling in ceilings if ceiling is not None]),
        intervals=bootstrap_intervals(scored, np.random.default_rng(seed), [task.group for task in judged]),
        tasks=judged,
    )


def uncertainty_metrics(model: CostModel, data: FeatureDataset) -> TaskMetrics:
    """How well intervals of predicted times hold on tasks; nothing for a model that gives none.

    ``coverage``: share of candidates whose time lies within, the mean over tasks. ``interval_ratio``: how
    many times slower than predicted a candidate may be, the median.
    """
    if not isinstance(model, KnowsUncertainty):
        return {}
    tasks = data.learnable().tasks
    widths = np.concatenate([model.half_widths(task.trees) for task in tasks])
    if not np.isfinite(widths).all():
        return {}
    covered = [float(model.covers(task).mean()) for task in tasks]
    return {"coverage": float(np.mean(covered)), "interval_ratio": float(np.exp(np.median(widths)))}


def scoring_rate(model: CostModel, data: FeatureDataset, min_s: float = 0.5) -> float:
    """Candidates a second that the model scores, features at hand; over at least ``min_s`` seconds."""
    num, effort = scoring_effort(model, data, min_s)
    return num / effort.wall_s


def scoring_effort(model: CostModel, data: FeatureDataset, min_s: float = 0.5) -> tuple[int, Effort]:
    """How many candidates the model scored, again and again for at least ``min_s``, and what that took."""
    trees = data.trees
    model.score(trees)
    num, watch = 0, Stopwatch()
    while True:
        model.score(trees)
        num += len(trees)
        effort = watch.elapsed()
        if effort.wall_s >= min_s:
            return num, effort
