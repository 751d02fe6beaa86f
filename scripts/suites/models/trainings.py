"""Models x losses x splits x seeds: what is compared, and the results of each training, kept one by one."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np

import costmodel.metrics
import datasets.grouping
import datasets.table
import scripts.learning.effort
import scripts.learning.judgement
import scripts.learning.training
from costmodel.dataset import FeatureDataset
from costmodel.metrics import TaskMetrics
from datasets.splits import Split, by_operator, by_target, folds
from datasets.table import RecordTable
from scripts.learning.judgement import judge, scoring_effort, uncertainty_metrics
from scripts.learning.training import comparable_features, fit_model
from scripts.options.data import DataConfig
from scripts.running.code_hash import code_hash
from scripts.running.display import say
from scripts.running.mistakes import sentence
from scripts.running.outputs import write_text
from scripts.suites.models.selection import FOLDS, Contestant, ModelTableConfig, contestants

NUM_FOLDS = 4

WITHIN_TASK = 0.2
"""Share of every task's candidates that ``within_task`` keeps apart."""

PER_TASK = 16
"""Candidates that a task has, on average, in a smaller training set: fewer would hardly be comparable."""

JUDGES = (
    costmodel.metrics,
    datasets.grouping,
    datasets.table,
    scripts.learning.effort,
    scripts.learning.judgement,
    scripts.learning.training,
)
"""What a result depends on beside its model and this module, which hands both sides to the model."""

Training: TypeAlias = tuple[Contestant, int, int]
"""Who, number of records and seed."""


@dataclass(frozen=True)
class Cell:
    """One training and its judgement; ``num_train`` is 0 for what learns nothing.

    ``tasks``: metrics by task and target, NaN where a task has none; ``groups``: of the same, as in
    ``TaskFeatures``. ``train_cpu_s`` and ``candidates_per_cpu_s`` are ``cpu_s`` of ``Effort``. ``coverage``
    as in ``uncertainty_metrics``, None for a model without intervals.
    """

    split: str
    model: str
    loss: str
    seed: int
    num_records: int
    num_train: int
    train_s: float
    train_cpu_s: float
    candidates_per_s: float
    candidates_per_cpu_s: float
    num_parameters: int
    tasks: Mapping[str, TaskMetrics]
    groups: Mapping[str, str]
    ceiling: Mapping[str, float]
    coverage: float | None = None  # a default, so that results kept by earlier versions are still read


@dataclass(frozen=True)
class FailedCell:
    """A training that ended in an error, and the error in a sentence."""

    split: str
    model: str
    loss: str
    seed: int
    reason: str


def run_cells(
    config: ModelTableConfig, data: DataConfig, seed: int, folder: Path
) -> tuple[list[Cell], list[FailedCell]]:
    """Train and judge what ``folder`` does not hold yet; each result is kept as soon as it is there.

    A kept result counts as long as the records, their division, the options and the code it depends on are
    the same. A training that fails does not cost the others their places; nothing of it is kept.
    """
    plan = _planned(config, data, seed, folder / "cells")
    paths = [path for _, _, wanted in plan for path in wanted]
    kept = {path: cell for path in paths if (cell := read_cell(path)) is not None}
    say(f"{len(paths) - len(kept)} trainings to be made, {len(kept)} are kept in {folder / 'cells'}")
    cells: list[Cell] = []
    failed: list[FailedCell] = []
    for name, split, wanted in plan:
        sides = _Sides(split, data)
        for path, (contestant, size, number) in wanted.items():
            cell = kept.get(path)
            if cell is None:
                features = sides.features()
                try:
                    cell = _trained(contestant, name, features, size, seed + number)
                except ValueError as error:
                    what = (name, contestant.model, contestant.loss, seed + number)
                    failed.append(FailedCell(*what, sentence(error)))
                    say(f"failed: {failed[-1].reason}")
                    continue
                path.parent.mkdir(parents=True, exist_ok=True)
                write_text(path, json.dumps(asdict(cell)))
            cells.append(cell if contestant.learns else replace(cell, num_train=0))
    return cells, failed


def divisions(name: str, table: RecordTable, data: DataConfig, seed: int) -> list[Split]:
    """Pairs of sides, one but for ``FOLDS``.

    ``by_operator`` and ``by_target`` learn from the operator or target with most tasks. There are none, with
    a word about it, if there is but one.
    """
    if name == FOLDS:
        whole = replace(data, split="by_task").divide(table, seed)
        return folds(whole.train, NUM_FOLDS, np.random.default_rng(seed))
    if name in ("by_task", "within_task"):
        fraction = data.test_fraction if name == "by_task" else WITHIN_TASK
        return [replace(data, split=name, test_fraction=fraction).divide(table, seed)]
    keys = [t.operator if name == "by_operator" else t.target.fingerprint for t in table.tasks]
    most = max(sorted(set(keys)), key=keys.count)
    others = set(keys) - {most}
    if not others:
        say(f"{name}: left out, as all records are of one {name.removeprefix('by_')} ({most})")
        return []
    split = by_operator(table, others) if name == "by_operator" else by_target(table, others)
    return [data.drawn(split, np.random.default_rng(seed))]


def smaller(data: FeatureDataset, num: int, rng: np.random.Generator) -> FeatureDataset:
    """About ``num`` candidates of as many tasks, drawn at random, as leave ``PER_TASK`` to each."""
    order = rng.permutation(len(data.tasks))
    held = np.cumsum([len(data.tasks[number]) for number in order])
    num_tasks = max(num // PER_TASK, int(np.searchsorted(held, num)) + 1)
    chosen = (data.tasks[number] for number in np.sort(order[:num_tasks]))
    return FeatureDataset(tuple(chosen)).sampled(num, rng)


def read_cell(path: Path) -> Cell | None:
    """A kept result; None if there is none, or the file is no such result."""
    try:
        return Cell(**json.loads(path.read_text()))
    except (OSError, TypeError, ValueError):
        return None


class _Sides:
    """Features of the two sides of a split, made when the first training needs them."""

    def __init__(self, split: Split, data: DataConfig) -> None:
        self._split, self._cache = split, data.feature_cache()
        self._made: tuple[FeatureDataset, FeatureDataset] | None = None

    def features(self) -> tuple[FeatureDataset, FeatureDataset]:
        if self._made is None:
            train = comparable_features("learn from", self._split.train, self._cache)
            self._made = train, comparable_features("be judged on", self._split.test, self._cache)
        return self._made


def _planned(
    config: ModelTableConfig, data: DataConfig, seed: int, folder: Path
) -> list[tuple[str, Split, dict[Path, Training]]]:
    """Each division with the trainings on it, by their files: what two selections share stands once."""
    table, records = data.table(), data.file_hash()
    by_split = _trainings_by_split(config)
    judges = code_hash(modules=[*JUDGES, sys.modules[__name__]])
    plan = []
    for name, trainings in by_split.items():
        for split in divisions(name, table, data, seed):
            wanted: dict[Path, Training] = {}
            for contestant, size, number in trainings:
                facts = [records, name, split.digest, size, number, seed, judges]
                path = folder / f"{contestant.digest(facts)}.json"
                wanted.setdefault(path, (contestant, size, number))
            plan.append((name, split, wanted))
    if not plan:
        raise ValueError(f"table.splits={list(by_split)}: these records can be divided by none of them")
    return plan


def _trainings_by_split(config: ModelTableConfig) -> dict[str, list[Training]]:
    """One that two selections share stands twice."""
    wanted: dict[str, list[Training]] = {}
    for selection in config.selections():
        trainings = list(_trainings(selection))
        for split in selection.splits:
            wanted.setdefault(split, []).extend(trainings)
    return wanted


def _trainings(config: ModelTableConfig) -> Iterator[Training]:
    """Those of a single selection, on each of its splits."""
    for contestant in contestants(config, "evaluate"):
        # Beside the best that learn: what learns nothing is compared with those that learnt from most.
        largest = 0 if 0 in config.num_records else max(config.num_records)
        sizes = config.num_records if contestant.learns else [largest]
        for size in sizes:
            for number in range(config.num_seeds if contestant.learns else 1):
                yield contestant, size, number


def _trained(
    contestant: Contestant, split: str, sides: tuple[FeatureDataset, FeatureDataset], size: int, seed: int
) -> Cell:
    train, test = sides
    if size:
        train = smaller(train, size, np.random.default_rng(seed))
    model = contestant.build()
    size_word = f", {len(train)} candidates" if contestant.learns else ""
    say(f"{split}: {contestant.model}, loss {contestant.loss}, seed {seed}{size_word}")
    effort = fit_model(model, train, seed)
    judgement = judge(model, test, seed)
    num_scored, scoring = scoring_effort(model, test)
    return Cell(
        split=split,
        model=contestant.model,
        loss=contestant.loss,
        seed=seed,
        num_records=size,
        num_train=len(train),
        train_s=effort.wall_s,
        train_cpu_s=effort.cpu_s,
        candidates_per_s=num_scored / scoring.wall_s,
        candidates_per_cpu_s=num_scored / scoring.cpu_s,
        num_parameters=model.num_parameters,
        tasks={task.label: task.metrics for task in judgement.tasks},
        groups={task.label: task.group for task in judgement.tasks},
        ceiling={name: value for name, value in judgement.ceiling.items() if math.isfinite(value)},
        coverage=uncertainty_metrics(model, test).get("coverage"),
    )
