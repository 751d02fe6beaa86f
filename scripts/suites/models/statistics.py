"""What the trainings found, as rows: means, differences, and intervals for the chance of tasks and seeds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from costmodel.metrics import FloatArray, TaskMetrics, average, bootstrap_intervals
from scripts.suites.models.row import METRICS, Row, kind_of
from scripts.suites.models.trainings import Cell

BOUNDS = {
    "pairwise_accuracy": (0.0, 1.0),
    "top1": (0.0, 1.0),
    "top5": (0.0, 1.0),
    "kendall_tau": (-1.0, 1.0),
    "trials95": (1.0, np.inf),
}
"""Values that a metric can have; a symmetric error would lead beyond."""

Family: TypeAlias = tuple[str, int, str]
"""Trainings that owe alike much to chance: split, size of the training set, and kind of model."""


@dataclass(frozen=True)
class SeedChance:
    """How much the trainings of a family differ from seed to seed.

    ``squares``: by metric, the summed squared deviations from the mean of the seeds of a model and loss;
    ``degrees`` of freedom: how many seeds there are beyond the first of each.
    """

    squares: Mapping[str, float]
    degrees: int

    def deviation(self, metric: str) -> float:
        """The standard deviation of a training; NaN where a mean over tasks has none."""
        return float(np.sqrt(self.squares[metric] / self.degrees))

    def draws(self, metric: str, variance: float, size: int, rng: np.random.Generator) -> FloatArray:
        """Errors of so many times the variance of a training, by Student's t; shape (size,)."""
        scale = self.deviation(metric) * np.sqrt(variance)
        return np.asarray(scale * rng.standard_t(self.degrees, size), dtype=np.float64)


@dataclass(frozen=True)
class Entry:
    """The trainings of one model with one loss on one split, and their chance, if it is known."""

    cells: Sequence[Cell]
    chance: SeedChance | None

    @property
    def num_seeds(self) -> int:
        return len({cell.seed for cell in self.cells})

    @property
    def groups(self) -> dict[str, str]:
        """Of the tasks that judged."""
        return {task: group for cell in self.cells for task, group in cell.groups.items()}

    def tasks(self) -> dict[str, TaskMetrics]:
        """The metrics of every task, averaged over seeds."""
        return seed_means(self.cells)


def rows_of(cells: Sequence[Cell], reference: str, seed: int) -> list[Row]:
    """A row per split, model, loss and size of the training set, in the order of the cells."""
    groups: dict[tuple[str, str, str, int], list[Cell]] = {}
    for cell in cells:
        groups.setdefault((cell.split, cell.model, cell.loss, cell.num_records), []).append(cell)
    chances = seed_chances(groups.values())
    entries = {
        key: Entry(same, chances.get(_family(same[0])) if same[0].num_train else None)
        for key, same in groups.items()
    }
    references: dict[tuple[str, int], Entry] = {}
    for (split, model, _, size), entry in entries.items():
        if model == reference:
            references.setdefault((split, size), entry)
    return [_row(entry, references.get((key[0], key[3])), seed) for key, entry in entries.items()]


def seed_chances(trainings: Iterable[Sequence[Cell]]) -> dict[Family, SeedChance]:
    """By family, from all models and losses that have more than one seed.

    Each alone has too few seeds to say; losses and encoders of one training are taken to be alike in this.
    """
    found: dict[Family, list[list[TaskMetrics]]] = {}
    for same in trainings:
        seeds = dict.fromkeys(cell.seed for cell in same)
        if len(seeds) > 1:
            parts = [seed_means([cell for cell in same if cell.seed == seed]) for seed in seeds]
            # Where a training on a part of the split failed, its seed lacks tasks, which is no chance.
            shared = [task for task in parts[0] if all(task in part for part in parts)]
            if shared:
                means = [average([part[task] for task in shared]) for part in parts]
                found.setdefault(_family(same[0]), []).append(means)
    return {family: _pooled(models) for family, models in found.items()}


def ceilings_of(cells: Sequence[Cell]) -> dict[str, Mapping[str, float]]:
    """The noise ceiling of each split, the mean over its parts, as far as candidates were measured twice."""
    known: dict[str, dict[str, list[float]]] = {}
    for cell in cells:
        for metric, value in cell.ceiling.items():
            known.setdefault(cell.split, {}).setdefault(metric, []).append(value)
    return {
        split: {metric: float(np.mean(values)) for metric, values in metrics.items()}
        for split, metrics in known.items()
    }


def seed_means(cells: Sequence[Cell]) -> dict[str, TaskMetrics]:
    """The metrics of every task, averaged over seeds; the parts of a split have different tasks."""
    names = dict.fromkeys(name for cell in cells for name in cell.tasks)
    return {name: average([cell.tasks[name] for cell in cells if name in cell.tasks]) for name in names}


def difference(
    entry: Entry, reference: Entry | None, seed: int
) -> tuple[TaskMetrics, dict[str, tuple[float, float]]]:
    """Means and intervals of the differences, task by task, by metric; NaN without a reference.

    Tasks differ more than models do, so these intervals are far narrower than those of the two averages.
    """
    ours, theirs = entry.tasks(), reference.tasks() if reference else {}
    shared = [task for task in ours if task in theirs]
    if reference is None or not shared:
        nan = float("nan")
        return dict.fromkeys(METRICS, nan), dict.fromkeys(METRICS, (nan, nan))
    pairs = [{name: ours[task][name] - theirs[task][name] for name in METRICS} for task in shared]
    compared = [] if reference is entry else [entry, reference]
    return average(pairs), _intervals(pairs, [entry.groups[task] for task in shared], compared, seed)


def _row(entry: Entry, reference: Entry | None, seed: int) -> Row:
    tasks, groups, cells = entry.tasks(), entry.groups, entry.cells
    ranked = average(list(tasks.values()))
    intervals = _intervals(list(tasks.values()), [groups[task] for task in tasks], [entry], seed)
    ahead, ahead_intervals = difference(entry, reference, seed)
    values: dict[str, Any] = {}
    for metric in METRICS:
        low, high = np.clip(intervals[metric], *BOUNDS[metric]).tolist()
        values |= _named(metric, ranked[metric], (low, high))
        values |= _named(f"ahead_{metric}", ahead[metric], ahead_intervals[metric])
    first, covered = cells[0], [cell.coverage for cell in cells if cell.coverage is not None]
    return Row(
        split=first.split,
        model=first.model,
        loss=first.loss,
        num_train=round(np.mean([cell.num_train for cell in cells])),
        num_seeds=entry.num_seeds,
        num_tasks=len(tasks),
        train_s=float(np.mean([cell.train_s for cell in cells])),
        train_cpu_s=float(np.mean([cell.train_cpu_s for cell in cells])),
        candidates_per_s=float(np.mean([cell.candidates_per_s for cell in cells])),
        candidates_per_cpu_s=float(np.mean([cell.candidates_per_cpu_s for cell in cells])),
        num_parameters=first.num_parameters,
        coverage=float(np.mean(covered)) if covered else None,
        seed_deviation=_known_deviation(entry.chance),
        **values,
    )


def _family(cell: Cell) -> Family:
    return cell.split, cell.num_records, kind_of(cell.loss, cell.coverage)


def _known_deviation(chance: SeedChance | None) -> float | None:
    deviation = chance.deviation("pairwise_accuracy") if chance else math.nan
    return deviation if math.isfinite(deviation) else None


def _pooled(models: Sequence[Sequence[TaskMetrics]]) -> SeedChance:
    squares = {}
    for metric in METRICS:
        values = [np.array([seed[metric] for seed in seeds]) for seeds in models]
        squares[metric] = float(sum(np.square(each - each.mean()).sum() for each in values))
    return SeedChance(squares, sum(len(seeds) - 1 for seeds in models))


def _intervals(
    tasks: Sequence[TaskMetrics], groups: Sequence[str], trained: Sequence[Entry], seed: int
) -> dict[str, tuple[float, float]]:
    """Of averages over tasks, with the chance of all trainings that they come from."""
    rng = np.random.default_rng(seed)
    # What a model and its reference owe to the chance of one family is as uncertain as its one deviation.
    variances: dict[Family, float] = {}
    chances: dict[Family, SeedChance] = {}
    for entry in trained:
        if entry.chance is not None:
            family = _family(entry.cells[0])
            chances[family] = entry.chance
            variances[family] = variances.get(family, 0.0) + 1 / entry.num_seeds

    def errors(metric: str, size: int) -> FloatArray:
        parts = (chance.draws(metric, variances[family], size, rng) for family, chance in chances.items())
        return sum(parts, np.zeros(size))

    return bootstrap_intervals(
        [{metric: task[metric] for metric in METRICS} for task in tasks], rng, groups, further=errors
    )


def _named(name: str, value: float, interval: tuple[float, float]) -> dict[str, float]:
    low, high = interval
    return {name: value, f"low_{name}": low, f"high_{name}": high}
