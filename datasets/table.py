"""Records as arrays per task: what training and evaluation read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from codegen.any_target import AnyTarget
from codegen.measure.measurement import FAILURE_KINDS
from datasets.columns import Dictionaries, dictionaries, to_columns
from datasets.grouping import Floats, Ints, first_two, medians, number_rows, number_texts
from datasets.record import Cache, JsonValue, Record

Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class TaskTable:
    """The N distinct candidates measured for one task on one target, in the order of first measurement.

    Attributes:
        cache: whether the caches were warm in all these trials, or flushed in all.
        compiler: of all these trials; empty where records do not say.
        name: of the task in the first record; ``aliases`` are the other names of the program.
        sketch_names: what ``sketches`` numbers.
        knob_names: per sketch, the names of the columns of ``knobs``.
        sketches: shape (N,).
        knobs: knob *values*, shape (N, most knobs of any sketch); unused columns hold 0.
        latency_s: median of all times of all trials, shape (N,); NaN where failed.
        spread: difference of the quartiles of those times over the median, shape (N,); NaN where failed.
        is_failed: shape (N,): every trial failed, or any with a wrong result.
        failure_kinds: shape (N,): position of the first failure in ``FAILURE_KINDS``, -1 where not failed.
        repeat_rows: candidates measured in at least two trials that succeeded, shape (M,).
        repeat_pairs: latency of the first and of the second such trial, shape (M, 2).
        is_namesake: whether another program of the table has the same name on the same target.
    """

    name: str
    operator: str
    parameters: Mapping[str, JsonValue]
    program_hash: str
    program_text: str
    target: AnyTarget
    sketch_names: tuple[str, ...]
    knob_names: tuple[tuple[str, ...], ...]
    sketches: Ints
    knobs: Ints
    latency_s: Floats
    spread: Floats
    is_failed: Bools
    failure_kinds: Ints
    repeat_rows: Ints
    repeat_pairs: Floats
    aliases: tuple[str, ...] = ()
    cache: Cache = "warm"
    compiler: str = ""
    is_namesake: bool = False

    def __len__(self) -> int:
        return len(self.latency_s)

    @property
    def names(self) -> tuple[str, ...]:
        """Every name of the program, ``name`` first."""
        return (self.name, *self.aliases)

    @property
    def label(self) -> str:
        """Tells the task from all others of a table: one program may stand there for several targets."""
        program = (self.program_hash,) if self.is_namesake else ()
        conditions = (*program, self.target.fingerprint, self.compiler or "compiler not noted", self.cache)
        return f"{self.name} on {self.target.name} ({', '.join(conditions)})"

    @cached_property
    def best_latency_s(self) -> float:
        """Of the fastest candidate; NaN if all failed."""
        return (
            float(np.min(self.latency_s, where=~self.is_failed, initial=np.inf)) if self.has_times else np.nan
        )

    @property
    def has_times(self) -> bool:
        """Whether any candidate did not fail."""
        return not bool(self.is_failed.all())

    @cached_property
    def labels(self) -> Floats:
        """``best / latency`` in (0, 1], failures 0; shape (N,)."""
        return np.where(
            self.is_failed, 0.0, self.best_latency_s / np.where(self.is_failed, 1.0, self.latency_s)
        )

    def named(self, row: int) -> dict[str, Any]:
        """One candidate by names and values."""
        sketch = int(self.sketches[row])
        names = self.knob_names[sketch]
        return {
            "sketch": self.sketch_names[sketch],
            "knobs": dict(zip(names, self.knobs[row, : len(names)].tolist(), strict=True)),
        }

    def take(self, rows: Ints) -> TaskTable:
        """Some of the candidates, in the order given; labels then refer to the best of these."""
        position = np.full(len(self), -1, dtype=np.int64)
        position[rows] = np.arange(len(rows))
        kept = position[self.repeat_rows] >= 0
        return replace(
            self,
            sketches=self.sketches[rows],
            knobs=self.knobs[rows],
            latency_s=self.latency_s[rows],
            spread=self.spread[rows],
            is_failed=self.is_failed[rows],
            failure_kinds=self.failure_kinds[rows],
            repeat_rows=position[self.repeat_rows[kept]],
            repeat_pairs=self.repeat_pairs[kept],
        )


@dataclass(frozen=True, eq=False)
class RecordTable:
    """Tasks in the order of their first record, each a program on a target, whatever its names and files.

    Times with flushed caches are no times with warm ones, nor are those of another compiler's code: they make
    another task.
    """

    tasks: tuple[TaskTable, ...]

    @property
    def num_candidates(self) -> int:
        """Distinct candidates, failed ones included."""
        return sum(len(task) for task in self.tasks)


def table_from_records(records: Sequence[Record]) -> RecordTable:
    """The table of records in memory."""
    return table_from_columns(to_columns(records))


def table_from_columns(columns: pa.Table) -> RecordTable:
    """Merge the trials of each candidate; group candidates by program, target, compiler and state of caches.

    A trial that occurs twice, as in a store and in a file exported from it, counts once.
    """
    listed = dictionaries(columns)
    in_time = columns.sort_by("measured_at")
    programs = number_texts([task.program_hash for task in listed.tasks])
    targets = number_texts([target.fingerprint for target in listed.targets])
    tasks, layouts = _ints(in_time, "task"), _ints(in_time, "layout")
    knobs = _padded(in_time.column("knobs"), _check_knobs(in_time, listed, tasks, layouts))
    is_flushed = pc.equal(in_time.column("cache"), "flushed").to_numpy().astype(np.int64)
    compilers = in_time.column("compiler").to_pylist()
    conditions = [is_flushed, number_texts(compilers)]
    owners = np.column_stack([programs[tasks], targets[_ints(in_time, "target")], *conditions, layouts])
    candidate_of_trial, _ = number_rows(np.column_stack([owners, knobs]))
    identity = [_ints(in_time, name) for name in ("seed", "trial", "measured_at")]
    _, distinct = number_rows(np.column_stack([candidate_of_trial, *identity]))
    candidate_of_trial, first_trial = number_rows(candidate_of_trial[distinct, None])
    merged = _merge_trials(in_time.take(distinct), candidate_of_trial, len(first_trial))
    first_trial = distinct[first_trial]
    groups, first_candidate = number_rows(owners[first_trial, :4])
    order = np.argsort(groups, kind="stable")
    ends = np.cumsum(np.bincount(groups, minlength=len(first_candidate)))[:-1]
    parts = np.split(order, ends) if len(first_candidate) else []
    origins = np.column_stack([tasks, _ints(in_time, "target"), layouts, is_flushed])[first_trial]
    made = (_task_table(listed, rows, origins, knobs[first_trial], merged) for rows in parts)
    named = (compilers[first_trial[rows[0]]] for rows in parts)
    made_all = [replace(task, compiler=compiler) for task, compiler in zip(made, named)]
    num_of = Counter(task.label for task in made_all)
    return RecordTable(tuple(replace(task, is_namesake=num_of[task.label] > 1) for task in made_all))


@dataclass(frozen=True)
class _Merged:
    """Arrays over all candidates, as in ``TaskTable``; pairs are NaN where there are none."""

    latency_s: Floats
    spread: Floats
    is_failed: Bools
    failure_kinds: Ints
    pairs: Floats


def _merge_trials(columns: pa.Table, candidates: Ints, num_candidates: int) -> _Merged:
    times_s, trial_of_time = _flat(columns.column("times_s"))
    times_s = times_s.astype(np.float64)
    kinds = _failure_kinds(columns)
    latency_s, quartile_range_s = medians(times_s, candidates[trial_of_time], num_candidates)
    # A wrong result is no matter of chance as a timeout can be: one such trial condemns the candidate.
    wrong = np.zeros(num_candidates, dtype=bool)
    wrong[candidates[kinds == FAILURE_KINDS.index("correctness")]] = True
    failed = np.isnan(latency_s) | wrong
    latency_s[failed] = np.nan
    failed_trials = np.flatnonzero(kinds >= 0)[::-1]  # backwards, so that the first failure is written last
    candidate_kinds = np.full(num_candidates, -1, dtype=np.int64)
    candidate_kinds[candidates[failed_trials]] = kinds[failed_trials]
    trial_latency_s, _ = medians(times_s, trial_of_time, len(candidates))
    return _Merged(
        latency_s=latency_s,
        spread=quartile_range_s / latency_s,
        is_failed=failed,
        failure_kinds=np.where(failed, candidate_kinds, -1),
        pairs=first_two(trial_latency_s, candidates, num_candidates),
    )


def _task_table(listed: Dictionaries, rows: Ints, origins: Ints, knobs: Ints, merged: _Merged) -> TaskTable:
    """``origins``: task, target and layout of each first trial, and whether the caches were flushed."""
    task = listed.tasks[origins[rows[0], 0]]
    twins = [entry.name for entry in listed.tasks if entry.program_hash == task.program_hash]
    used, sketches = np.unique(origins[rows, 2], return_inverse=True)
    layouts = [listed.layouts[number] for number in used]
    failed, pairs = merged.is_failed[rows], merged.pairs[rows]
    repeated = np.flatnonzero(~np.isnan(pairs[:, 1]) & ~failed)
    return TaskTable(
        name=task.name,
        operator=task.operator,
        parameters=task.parameters,
        program_hash=task.program_hash,
        program_text=task.program_text,
        target=listed.targets[origins[rows[0], 1]],
        sketch_names=tuple(sketch for sketch, _ in layouts),
        knob_names=tuple(names for _, names in layouts),
        sketches=sketches.astype(np.int64),
        knobs=knobs[rows, : max(len(names) for _, names in layouts)],
        latency_s=merged.latency_s[rows],
        spread=merged.spread[rows],
        is_failed=failed,
        failure_kinds=merged.failure_kinds[rows],
        repeat_rows=repeated,
        repeat_pairs=pairs[repeated],
        aliases=tuple(name for name in dict.fromkeys(twins) if name != task.name),
        cache="flushed" if origins[rows[0], 3] else "warm",
    )


def _check_knobs(columns: pa.Table, listed: Dictionaries, tasks: Ints, layouts: Ints) -> int:
    """The most knobs of any layout; ValueError for a record with more or fewer values than its sketch."""
    expected = np.array([len(names) for _, names in listed.layouts], dtype=np.int64)
    found = np.diff(columns.column("knobs").combine_chunks().offsets.to_numpy())
    wrong = np.flatnonzero(found != expected[layouts])
    if len(wrong):
        row = wrong[0]
        sketch, names = listed.layouts[layouts[row]]
        raise ValueError(
            f"task {listed.tasks[tasks[row]].name}: sketch {sketch} has the knobs {list(names)}, "
            f"but a record has {found[row]} values"
        )
    return int(expected.max(initial=0))


def _ints(columns: pa.Table, name: str) -> Ints:
    values: Ints = columns.column(name).to_numpy().astype(np.int64)
    return values


def _flat(lists: pa.ChunkedArray) -> tuple[NDArray[Any], Ints]:
    """The values of all lists in a row, and the row that each came from."""
    array = lists.combine_chunks()
    lengths = np.diff(array.offsets.to_numpy())
    return array.flatten().to_numpy(), np.repeat(np.arange(len(lengths)), lengths)


def _padded(lists: pa.ChunkedArray, width: int) -> Ints:
    """A row per list, filled up with 0."""
    values, rows = _flat(lists)
    starts = np.searchsorted(rows, np.arange(len(lists)))
    padded = np.zeros((len(lists), width), dtype=np.int64)
    padded[rows, np.arange(len(values)) - starts[rows]] = values
    return padded


def _failure_kinds(columns: pa.Table) -> Ints:
    encoded = columns.column("failure_kind").combine_chunks().dictionary_encode()
    numbers = [FAILURE_KINDS.index(kind) for kind in encoded.dictionary.to_pylist()]
    positions = encoded.indices.fill_null(len(numbers)).to_numpy()
    kinds: Ints = np.array([*numbers, -1], dtype=np.int64)[positions]
    return kinds
