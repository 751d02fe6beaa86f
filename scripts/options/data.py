"""The config group ``data``: which records a model learns from, and on which it is judged."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from glob import glob
from pathlib import Path

import numpy as np
import pyarrow as pa

from costmodel.feature_cache import FeatureCache
from datasets.columns import concatenate_columns
from datasets.connection import is_url, shown_location
from datasets.parquet import file_hash
from datasets.splits import HELD_OUT, Split, by_name, by_operator, by_target, by_task, listed, within_task
from datasets.table import RecordTable, table_from_columns
from scripts.options.locations import open_existing, read_columns
from scripts.running.launch import ROOT


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Records and their split.

    ``path`` is a Parquet file, a record store (SQLite file), a pattern of these, or a database URL; a
    relative path is looked for here and then in the project. ``held_out`` holds patterns of task names
    (``by_task``), task names (``by_name``), operators (``by_operator``) or target fingerprints.
    ``features`` is a folder that keeps features from run to run; none for none. ``num_tasks`` takes so many
    tasks of each side, drawn at random, to try things: features of the others are not made.
    """

    path: str = "datasets/published/*.parquet"
    split: str = "by_task"
    test_fraction: float = 0.1
    held_out: list[str] = field(default_factory=lambda: list(HELD_OUT))
    features: str = "outputs/features"
    num_tasks: int | None = None

    def __post_init__(self) -> None:
        if self.num_tasks is not None and self.num_tasks < 1:
            raise ValueError(f"data.num_tasks must be at least 1, got {self.num_tasks}")
        if self.split not in _SPLITS:
            raise ValueError(f"data.split must be one of {', '.join(_SPLITS)}, got {self.split!r}")

    def files(self) -> list[Path]:
        """The files that ``path`` names; ValueError if there are none."""
        for pattern in (self.path, str(ROOT / self.path)):
            if found := sorted(glob(pattern)):
                return [Path(name) for name in found]
        raise ValueError(f"data.path names no file: {self.path}")

    def table(self) -> RecordTable:
        """All candidates, by task; what several files hold of one task is one task."""
        return table_from_columns(self.columns())

    def columns(self) -> pa.Table:
        """All trials, a row each; ValueError if there are none."""
        locations = [self.path] if is_url(self.path) else map(str, self.files())
        columns = concatenate_columns([read_columns(location) for location in locations])
        if not columns.num_rows:
            raise ValueError(f"data.path holds no records: {shown_location(self.path)}")
        return columns

    def file_hash(self) -> str:
        """64 hex digits of the files' bytes, or of the records behind a URL, and of ``num_tasks``."""
        if is_url(self.path):
            with open_existing(self.path) as store:
                parts = sorted(record.digest for batch in store.batches() for record in batch)
        else:
            parts = [file_hash(path) for path in self.files()]
        parts += [] if self.num_tasks is None else [str(self.num_tasks)]
        return hashlib.sha256("".join(parts).encode()).hexdigest()

    def feature_cache(self) -> FeatureCache | None:
        """Where features are kept, if they are."""
        return None if self.features == "none" else FeatureCache(Path(self.features))

    def divide(self, table: RecordTable, seed: int) -> Split:
        """The side to learn from and the side to be judged on."""
        rng = np.random.default_rng(seed)
        return self.drawn(_SPLITS[self.split](table, self, rng), rng)

    def drawn(self, split: Split, rng: np.random.Generator) -> Split:
        """``num_tasks`` of each side, or all; a task that is on both is drawn for both."""
        return split if self.num_tasks is None else _drawn(split, self.num_tasks, rng)


def _drawn(split: Split, num: int, rng: np.random.Generator) -> Split:
    sides = (split.train, split.test)
    labels = sorted({task.label for side in sides for task in side.tasks})
    place = dict(zip(labels, rng.permutation(len(labels)).tolist(), strict=True))
    kept = [set(sorted((task.label for task in side.tasks), key=place.__getitem__)[:num]) for side in sides]
    train, test = (
        RecordTable(tuple(task for task in side.tasks if task.label in names))
        for side, names in zip(sides, kept, strict=True)
    )
    return Split(train, test)


def _by_task(table: RecordTable, config: DataConfig, rng: np.random.Generator) -> Split:
    return by_task(table, config.test_fraction, rng, config.held_out)


def _within_task(table: RecordTable, config: DataConfig, rng: np.random.Generator) -> Split:
    return within_task(table, config.test_fraction, rng)


def _by_name(table: RecordTable, config: DataConfig, rng: np.random.Generator) -> Split:
    _check_named("tasks", config, {name for task in table.tasks for name in task.names})
    return by_name(table, config.held_out)


def _by_operator(table: RecordTable, config: DataConfig, rng: np.random.Generator) -> Split:
    _check_named("operators", config, {task.operator for task in table.tasks})
    return by_operator(table, config.held_out)


def _by_target(table: RecordTable, config: DataConfig, rng: np.random.Generator) -> Split:
    known = {f"{task.target.fingerprint} ({task.target.name})" for task in table.tasks}
    _check_named("targets by their fingerprints", config, known)
    return by_target(table, config.held_out)


def _check_named(what: str, config: DataConfig, known: set[str]) -> None:
    """ValueError if ``held_out`` has its default: patterns for ``by_task``, which nobody gave."""
    if tuple(config.held_out) == HELD_OUT:
        raise ValueError(
            f"data.split={config.split} needs data.held_out to name {what}; there are {listed(known)}"
        )


_SPLITS = {
    "by_task": _by_task,
    "within_task": _within_task,
    "by_name": _by_name,
    "by_operator": _by_operator,
    "by_target": _by_target,
}
