"""Measured candidates as features and labels, task by task."""

from __future__ import annotations

import gc
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import joblib
import numpy as np
from numpy.typing import NDArray

from codegen.measure.cores import usable_cores
from codegen.ops import make_operator
from codegen.schedule import Candidates, Space, build_space
from costmodel.batching import TreeBatch, concatenate_batches
from costmodel.feature_cache import FeatureCache
from costmodel.features.columns import FEATURES_VERSION
from costmodel.features.featurise import Featuriser
from datasets.splits import group_key, task_groups
from datasets.table import RecordTable, TaskTable

FloatArray = NDArray[np.float64]

TASKS_PER_WORKER = 12
"""Below, starting a process takes longer than the features that it would take over."""


@dataclass(frozen=True, eq=False)
class TaskFeatures:
    """The N measured candidates of one task.

    ``latency_s``: shape (N,), NaN where a candidate failed. ``repeat_pairs``: (M, 2), two measurements of
    each of the candidates that were measured twice, from which the noise ceiling comes. ``label`` tells the
    task from all others, on this or another target; tasks of one ``group`` (``datasets.splits.task_groups``)
    are so alike that none of them may judge what was learnt from another. Empty ones are taken for the name.
    """

    name: str
    trees: TreeBatch
    latency_s: FloatArray
    repeat_pairs: FloatArray
    target_name: str = ""
    label: str = ""
    group: str = ""

    def __post_init__(self) -> None:
        if len(self.trees) != len(self.latency_s):
            raise ValueError(f"{self.name}: {len(self.trees)} trees but {len(self.latency_s)} latencies")
        for field in ("label", "group"):
            object.__setattr__(self, field, getattr(self, field) or self.name)

    def __len__(self) -> int:
        return len(self.latency_s)

    def take(self, rows: NDArray[np.int64]) -> TaskFeatures:
        """Some of the candidates, in the order given; labels then refer to the best of these."""
        return replace(self, trees=self.trees.take(rows), latency_s=self.latency_s[rows])

    @cached_property
    def labels(self) -> FloatArray:
        """Best latency / latency in (0, 1], failures 0."""
        return labels_of(self.latency_s)


@dataclass(frozen=True, eq=False)
class FeatureDataset:
    """Tasks to learn from."""

    tasks: tuple[TaskFeatures, ...]

    def __len__(self) -> int:
        return sum(len(task) for task in self.tasks)

    @cached_property
    def trees(self) -> TreeBatch:
        """The trees of all tasks, one after the other."""
        return concatenate_batches([task.trees for task in self.tasks])

    def take(self, rows: NDArray[np.int64]) -> TreeBatch:
        """The trees at rows of ``trees``, in the order given, without a copy of all others."""
        ends = self._ends
        homes = np.searchsorted(ends, rows, side="right")
        parts = np.split(np.arange(len(rows)), np.flatnonzero(np.diff(homes)) + 1)
        tasks = [self.tasks[homes[part[0]]] for part in parts if len(part)]
        starts = [ends[homes[part[0]]] - len(task) for task, part in zip(tasks, parts)]
        return concatenate_batches(
            [task.trees.take(rows[part] - start) for task, part, start in zip(tasks, parts, starts)]
        )

    @cached_property
    def _ends(self) -> NDArray[np.int64]:
        """Per task the row of ``trees`` after its last."""
        return np.cumsum([len(task) for task in self.tasks], dtype=np.int64)

    @cached_property
    def hash(self) -> str:
        """16 hex digits over names and all that a training reads: what a checkpoint says it was trained on.

        Of groups it is which tasks share one, not what they are called.
        """
        digest = hashlib.sha256(str(FEATURES_VERSION).encode())
        numbers = {group: number for number, group in enumerate(self.groups)}
        for task in self.tasks:
            digest.update(repr((task.name, numbers[task.group], len(task))).encode())
            digest.update(np.ascontiguousarray(task.latency_s).tobytes())
            for trees in task.trees.groups:
                parts: list[Any] = [trees.parents, trees.flows, trees.rows, trees.nodes, trees.programs]
                for array in map(np.ascontiguousarray, parts):
                    digest.update(repr(array.shape).encode())
                    digest.update(array.tobytes())
        return digest.hexdigest()[:16]

    def sampled(self, num: int, rng: np.random.Generator) -> FeatureDataset:
        """``num`` candidates drawn from all tasks alike, or all if there are fewer; at least one a task."""
        share = min(num / max(len(self), 1), 1.0)
        kept = [np.sort(rng.permutation(len(t))[: max(round(share * len(t)), 1)]) for t in self.tasks]
        return FeatureDataset(tuple(task.take(rows) for task, rows in zip(self.tasks, kept)))

    @cached_property
    def groups(self) -> tuple[str, ...]:
        """The groups of the tasks, each once."""
        return tuple(dict.fromkeys(task.group for task in self.tasks))

    def divided(self, fraction: float, rng: np.random.Generator) -> tuple[FeatureDataset, FeatureDataset]:
        """All tasks but those of a share of the groups, drawn at random, and these; one is always left."""
        num = len(self.groups)
        num_kept = max(0, min(round(fraction * num), num - 1))
        kept = {self.groups[number] for number in rng.permutation(num)[:num_kept]}
        sides = ([t for t in self.tasks if (t.group in kept) is is_kept] for is_kept in (False, True))
        learning, apart = (FeatureDataset(tuple(side)) for side in sides)
        return learning, apart

    def learnable(self) -> FeatureDataset:
        """The tasks with at least two candidates, not all failed: others hold no comparison."""
        return FeatureDataset(tuple(t for t in self.tasks if len(t) > 1 and np.isfinite(t.latency_s).any()))


def labels_of(latency_s: FloatArray) -> FloatArray:
    """Best / each in (0, 1]; 0 where a latency is not finite."""
    succeeded = np.isfinite(latency_s)
    best = np.min(latency_s, where=succeeded, initial=np.inf)
    return np.where(succeeded, best / np.where(succeeded, latency_s, 1.0), 0.0)


def dataset_of(
    table: RecordTable,
    on_task: Callable[[str], None] | None = None,
    cache: FeatureCache | None = None,
) -> FeatureDataset:
    """Features of all records, made on all cores; ``on_task`` hears the name of each task as it is done.

    What ``cache`` holds is read there, and what it lacks is added.

    Raises:
        ValueError: if this version builds another program for a task, or a space without its candidates.
    """
    tasks, group_of = [], task_groups(table)
    for task, trees in zip(table.tasks, _all_trees(table, cache)):
        latency_s = np.where(task.is_failed, np.nan, task.latency_s)
        identity = (task.target.name, task.label, group_of[group_key(task)])
        tasks.append(TaskFeatures(task.name, trees, latency_s, task.repeat_pairs, *identity))
        if on_task is not None:
            on_task(task.name)
    return FeatureDataset(tuple(tasks))


def task_trees(table: TaskTable) -> TreeBatch:
    """Features of one task's candidates, in the table's order; ValueError as ``dataset_of``."""
    program = make_operator(table.operator, table.parameters).program()
    if program.hash != table.program_hash:
        raise ValueError(
            f"task {table.name}: records are of program {table.program_hash}, this version has {program.hash}"
        )
    space = build_space(program, table.target)
    candidates = candidates_of(table, space)
    try:
        return Featuriser(space)(candidates)
    except ValueError as error:  # of a GPU that this version does not describe
        raise ValueError(f"task {table.name}: {error}") from None


def _all_trees(table: RecordTable, cache: FeatureCache | None) -> Iterator[TreeBatch]:
    """The trees of each task in turn."""
    known = [None if cache is None else cache.load(task) for task in table.tasks]
    missing = [task for task, trees in zip(table.tasks, known) if trees is None]
    num_workers = max(1, min(usable_cores(), len(missing) // TASKS_PER_WORKER))
    parallel = joblib.Parallel(num_workers, return_as="generator")
    made = parallel(joblib.delayed(_trees_at_once)(task) for task in missing)
    for task, trees in zip(table.tasks, known):
        if trees is None:
            trees = next(made)
            if cache is not None:
                cache.save(task, trees)
        yield trees


def _trees_at_once(table: TaskTable) -> TreeBatch:
    """``task_trees`` without garbage collection, which would visit all recorded arithmetic many times."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        return task_trees(table)
    finally:
        if was_enabled:
            gc.enable()


def candidates_of(table: TaskTable, space: Space[Any]) -> Candidates:
    """The recorded candidates as points of a space; ValueError names the first that is not one."""
    numbers = {sketch.name: number for number, sketch in enumerate(space.sketches)}
    sketches = np.zeros(len(table), dtype=np.int64)
    width = max(len(sketch.knobs) for sketch in space.sketches)
    positions = np.zeros((len(table), width), dtype=np.int64)
    for layout, (name, knob_names) in enumerate(zip(table.sketch_names, table.knob_names, strict=True)):
        rows = np.flatnonzero(table.sketches == layout)
        if name not in numbers:
            raise ValueError(f"task {table.name}: there is no sketch {name!r}, only {sorted(numbers)}")
        sketches[rows] = numbers[name]
        for column, knob in enumerate(space.sketches[numbers[name]].knobs):
            if knob.name not in knob_names:
                raise ValueError(f"task {table.name}: records of sketch {name!r} lack the knob {knob.name!r}")
            recorded = table.knobs[rows, knob_names.index(knob.name)]
            allowed = np.asarray(knob.values, dtype=np.int64)
            found = np.minimum(np.searchsorted(allowed, recorded), len(allowed) - 1)
            wrong = np.flatnonzero(allowed[found] != recorded)
            if len(wrong):
                value = recorded[wrong[0]]
                raise ValueError(f"task {table.name}: {knob.name} must be in {knob.values}, got {value}")
            positions[rows, column] = found
    return Candidates(sketches, positions)
