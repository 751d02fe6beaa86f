"""Dividing a table into a side to learn from and a side to be judged on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase

import numpy as np

from datasets.table import RecordTable, TaskTable

HELD_OUT = ("resnet18_c[1-9]", "resnet18_c1[0-2]", "mobilenet_d[1-9]", "matmul_*")
"""Patterns of task names that ``by_task`` never trains on: the workloads on which results are reported."""

NUM_SHOWN = 8
"""Names that an error lists at most."""

EPILOGUE = ("bias", "relu", "residual")
"""Parameters that say what follows an operator's main stage."""


@dataclass(frozen=True, eq=False)
class Split:
    """Two tables without a candidate in common."""

    train: RecordTable
    test: RecordTable

    @property
    def digest(self) -> str:
        """16 hex digits over the ``side_digest`` of both."""
        return hashlib.sha256(f"{side_digest(self.train)} {side_digest(self.test)}".encode()).hexdigest()[:16]


def side_digest(table: RecordTable) -> str:
    """16 hex digits over the tasks and their candidates, in order, not over what was measured."""
    digest = hashlib.sha256()
    for task in table.tasks:
        names = (task.label, task.sketch_names, task.knob_names, task.knobs.shape)
        digest.update(repr(names).encode() + task.sketches.tobytes() + task.knobs.tobytes())
    return digest.hexdigest()[:16]


def within_task(table: RecordTable, test_fraction: float, rng: np.random.Generator) -> Split:
    """Every task on both sides, each with its own candidates: how well a model fills in a known task.

    What several tasks of a group (``task_groups``) have, on other targets say, is on one side in all of them:
    a schedule that is fast on one machine seldom is slow on the next.
    """
    _check_fraction(test_fraction)
    group_of = task_groups(table)
    groups: dict[str, list[TaskTable]] = {}
    for task in table.tasks:
        groups.setdefault(group_of[group_key(task)], []).append(task)
    chosen = {key: _drawn_schedules(tasks, test_fraction, rng) for key, tasks in groups.items()}
    train, test = [], []
    for task in table.tasks:
        own = chosen[group_of[group_key(task)]]
        is_test = np.array([schedule in own for schedule in _schedules(task)], dtype=np.bool_)
        train.append(task.take(np.flatnonzero(~is_test)))
        test.append(task.take(np.flatnonzero(is_test)))
    return Split(_without_empty(train), _without_empty(test))


def by_task(
    table: RecordTable, test_fraction: float, rng: np.random.Generator, held_out: Sequence[str] = HELD_OUT
) -> Split:
    """Whole groups of tasks (``task_groups``) to either side: how well a model ranks what it has never seen.

    Groups with a name that matches ``held_out`` go to the test side, under whatever other name or with
    whatever other parameters of the same program they also occur, and with them ``test_fraction`` of the
    rest. The outcome does not depend on the order of the tasks.

    Raises:
        ValueError: a pattern matches nothing, unless they are those of ``HELD_OUT``, which suit any table.
    """
    _check_fraction(test_fraction)
    if tuple(held_out) != HELD_OUT:
        names = {name for task in table.tasks for name in task.names}
        idle = [pattern for pattern in held_out if not any(fnmatchcase(name, pattern) for name in names)]
        _refuse("task", idle, names)
    group_of = task_groups(table)
    fixed = {group_of[group_key(task)] for task in table.tasks if _matches(task.names, held_out)}
    others = sorted(set(group_of.values()) - fixed)
    drawn = rng.permutation(len(others))[: round(test_fraction * len(others))]
    chosen = fixed | {others[position] for position in drawn}
    return _separate(table, lambda task: group_of[group_key(task)] in chosen)


def folds(table: RecordTable, num_folds: int, rng: np.random.Generator) -> list[Split]:
    """Divisions each of which judges on other groups (``task_groups``), all together on every task."""
    group_of = task_groups(table)
    keys = sorted(set(group_of.values()))
    if not 2 <= num_folds <= len(keys):
        raise ValueError(f"num_folds must be from 2 to the {len(keys)} groups of tasks, got {num_folds}")
    fold_of = {keys[place]: number % num_folds for number, place in enumerate(rng.permutation(len(keys)))}
    return [
        _separate(table, lambda task, number=number: fold_of[group_of[group_key(task)]] == number)  # type: ignore[misc]
        for number in range(num_folds)
    ]


def by_name(table: RecordTable, test_names: Collection[str]) -> Split:
    """The named tasks to the test side.

    Raises:
        ValueError: a name does not occur, or a group (``group_key``) would be on both sides.
    """
    _check_known("task", test_names, {name for task in table.tasks for name in task.names})
    return _separate(table, lambda task: not set(test_names).isdisjoint(task.names))


def by_operator(table: RecordTable, test_operators: Collection[str]) -> Split:
    """All tasks of some operators to the test side.

    Raises:
        ValueError: an operator does not occur, or a group (``group_key``) would be on both sides.
    """
    _check_known("operator", test_operators, {task.operator for task in table.tasks})
    return _separate(table, lambda task: task.operator in test_operators)


def by_target(table: RecordTable, test_fingerprints: Collection[str]) -> Split:
    """All tasks on some targets to the test side: the same programs, on machines never seen."""
    _check_known("target", test_fingerprints, {task.target.fingerprint for task in table.tasks})
    return _partition(table, lambda task: task.target.fingerprint in test_fingerprints)


def group_key(task: TaskTable) -> str:
    """Equal for tasks that are the same program, or differ only in what follows the main stage.

    A convolution with a bias and a ReLU ranks schedules almost as the same convolution without: a model
    that has learnt one has seen the other.
    """
    return task.program_hash if set(EPILOGUE).isdisjoint(task.parameters) else _main_stage(task)


def alike_keys(task: TaskTable) -> tuple[str, str]:
    """Tasks that share one of these are alike as ``group_key`` has it, however their parameters are written.

    One program may be written with several parameters (an explicit default, a dilation of a 1 x 1 kernel),
    and one without an epilogue with or without the parameters that say so.
    """
    return task.program_hash, _main_stage(task)


def task_groups(table: RecordTable) -> dict[str, str]:
    """For each ``group_key`` the first of those of tasks alike (``alike_keys``), and of what is like them."""
    group_of = {group_key(task): group_key(task) for task in table.tasks}
    spelt: dict[str, set[str]] = {}
    for task in table.tasks:
        for alike in alike_keys(task):
            spelt.setdefault(alike, set()).add(group_key(task))
    for keys in (keys for keys in spelt.values() if len(keys) > 1):
        joined = {group_of[key] for key in keys}
        group_of |= {key: min(joined) for key, group in group_of.items() if group in joined}
    return group_of


def check_disjoint(train: RecordTable, test: RecordTable) -> None:
    """Raise ValueError, naming the two tasks, if tasks on the two sides are alike (``alike_keys``)."""
    trained = {key: task.name for task in train.tasks for key in alike_keys(task)}
    for task in test.tasks:
        for key in alike_keys(task):
            if key in trained:
                raise ValueError(
                    f"task {trained[key]} to train on and task {task.name} to test on are the same "
                    f"program, or differ only in {', '.join(EPILOGUE)}: {key}"
                )


def _drawn_schedules(tasks: Sequence[TaskTable], fraction: float, rng: np.random.Generator) -> set[Hashable]:
    """A fraction of the schedules of these tasks, as near to it as can be of what the same tasks have."""
    holders: dict[Hashable, list[int]] = {}
    for number, task in enumerate(tasks):
        for schedule in _schedules(task):
            holders.setdefault(schedule, []).append(number)
    drawn = rng.permutation(len(holders))
    known = list(holders)
    in_turn = sorted(drawn.tolist(), key=lambda place: holders[known[place]])
    marks = np.floor(fraction * np.arange(len(in_turn) + 1) + 0.5)
    return {known[place] for place, is_marked in zip(in_turn, np.diff(marks) > 0) if is_marked}


def _schedules(task: TaskTable) -> list[Hashable]:
    """Of each candidate, equal for the same schedule in another task."""
    names = [(sketch, *knobs) for sketch, knobs in zip(task.sketch_names, task.knob_names, strict=True)]
    rows = zip(task.sketches.tolist(), task.knobs.tolist(), strict=True)
    return [(names[sketch], tuple(knobs[: len(names[sketch]) - 1])) for sketch, knobs in rows]


def _main_stage(task: TaskTable) -> str:
    main = {name: value for name, value in task.parameters.items() if name not in EPILOGUE}
    return f"{task.operator} {json.dumps(main, sort_keys=True)}"


def _separate(table: RecordTable, is_test: Callable[[TaskTable], bool]) -> Split:
    split = _partition(table, is_test)
    check_disjoint(split.train, split.test)
    return split


def _partition(table: RecordTable, is_test: Callable[[TaskTable], bool]) -> Split:
    train = tuple(task for task in table.tasks if not is_test(task))
    test = tuple(task for task in table.tasks if is_test(task))
    return Split(RecordTable(train), RecordTable(test))


def _without_empty(tasks: Sequence[TaskTable]) -> RecordTable:
    return RecordTable(tuple(task for task in tasks if len(task)))


def _matches(names: Sequence[str], patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for name in names for pattern in patterns)


def _check_fraction(test_fraction: float) -> None:
    if not 0 <= test_fraction < 1:
        raise ValueError(f"test_fraction must be at least 0 and below 1, got {test_fraction}")


def _check_known(what: str, asked: Collection[str], known: set[str]) -> None:
    _refuse(what, sorted(set(asked) - known), known)


def _refuse(what: str, unknown: Sequence[str], known: Collection[str]) -> None:
    """ValueError names those that do not occur, if there are any, and what does: of many the most alike."""
    if not unknown:
        return
    shown = listed(known, unknown[0])
    raise ValueError(f"no {what} {' and no '.join(map(repr, unknown))} in the table; it has {shown}")


def listed(known: Collection[str], like: str = "") -> str:
    """Names for an error: of many those most like one, or the first."""
    names = sorted(known)
    if len(names) <= NUM_SHOWN:
        return ", ".join(names)
    shown = sorted(get_close_matches(like, names, n=NUM_SHOWN, cutoff=0)) if like else names[:NUM_SHOWN]
    return f"{', '.join(shown)} and {len(names) - NUM_SHOWN} others"
