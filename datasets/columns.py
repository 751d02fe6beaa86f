"""Records as columns: the form that is published, and from which training tables are made.

Tasks, targets and the layouts of knobs repeat from record to record, so they are listed once, as JSON
in the metadata of the Arrow schema, and records refer to them by position.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa

from codegen.any_target import AnyTarget
from codegen.measure.measurement import Failure, Measurement
from datasets.record import (
    SCHEMA_VERSION,
    JsonValue,
    Record,
    canonical_json,
    target_from_json,
    target_to_json,
)

METADATA_KEY = b"looprank.records"

TEXT_COLUMNS = (
    "failure_kind",
    "failure_message",
    "failure_command",
    "source",
    "code_version",
    "compiler",
    "cache",
)
MEASURED_COLUMNS = ("compile_s", "total_s", "reference_s", "unsteadiness")

COLUMNS: dict[str, pa.DataType] = {
    "task": pa.int16(),
    "target": pa.int16(),
    "layout": pa.int16(),
    "knobs": pa.list_(pa.int32()),
    "times_s": pa.list_(pa.float64()),
    "failure_kind": pa.string(),
    "failure_message": pa.string(),
    "failure_command": pa.string(),
    "compile_s": pa.float64(),
    "total_s": pa.float64(),
    "reference_s": pa.float64(),
    "unsteadiness": pa.float64(),
    "source": pa.string(),
    "seed": pa.int64(),
    "trial": pa.int32(),
    "measured_at": pa.timestamp("us", tz="UTC"),
    "code_version": pa.string(),
    "compiler": pa.string(),
    "cache": pa.string(),
}
"""Names and types in memory; a published file holds times as float32."""

ADDED_COLUMNS: dict[int, dict[str, str | float]] = {
    2: {"compiler": "", "cache": "warm"},
    3: {"unsteadiness": 0.0},
}
"""By the schema version that brought them: columns, with what they hold for older records."""


@dataclass(frozen=True)
class TaskEntry:
    """What the records of a task share."""

    name: str
    operator: str
    parameters: Mapping[str, JsonValue]
    program_hash: str
    program_text: str


@dataclass(frozen=True)
class Dictionaries:
    """What columns ``task``, ``target`` and ``layout`` refer to.

    A layout is a sketch name and the names of its knobs, in the order of the values in ``knobs``.
    """

    tasks: tuple[TaskEntry, ...]
    targets: tuple[AnyTarget, ...]
    layouts: tuple[tuple[str, tuple[str, ...]], ...]


def to_columns(records: Sequence[Record]) -> pa.Table:
    """A table with the columns of ``COLUMNS``, a row per record, in order."""
    tasks, targets, layouts = _Numbering(), _Numbering(), _Numbering()
    task_column, target_column, layout_column, knobs = [], [], [], []
    for record in records:
        names = tuple(sorted(record.knobs))
        task_column.append(tasks.number(_task_key(record)))
        target_column.append(targets.number(record.target))
        layout_column.append(layouts.number((record.sketch, names)))
        knobs.append([record.knobs[name] for name in names])
    failures = [record.failure for record in records]
    columns: dict[str, list[Any]] = {
        "task": task_column,
        "target": target_column,
        "layout": layout_column,
        "knobs": knobs,
        "times_s": [record.times_s for record in records],
        "failure_kind": [failure and failure.kind for failure in failures],
        "failure_message": [failure and failure.message for failure in failures],
        "failure_command": [failure and failure.command for failure in failures],
        "measured_at": [datetime.fromisoformat(record.measured_at) for record in records],
    }
    for name in MEASURED_COLUMNS:
        columns[name] = [getattr(record.measurement, name) for record in records]
    for name in ("source", "seed", "trial", "code_version", "compiler", "cache"):
        columns[name] = [getattr(record, name) for record in records]
    schema = pa.schema(COLUMNS.items(), _described(tasks, targets, layouts))
    return pa.table({name: columns[name] for name in COLUMNS}, schema=schema)


def from_columns(table: pa.Table) -> list[Record]:
    """The inverse of ``to_columns``, with times as exact as the table holds them."""
    listed = dictionaries(table)
    rows = zip(*(table.column(name).to_pylist() for name in COLUMNS), strict=True)
    return [_record(dict(zip(COLUMNS, row, strict=True)), listed) for row in rows]


def concatenate_columns(tables: Sequence[pa.Table]) -> pa.Table:
    """The rows of all tables one after the other, with one list of tasks, targets and layouts."""
    tasks, targets, layouts = _Numbering(), _Numbering(), _Numbering()
    parts = []
    for table in tables:
        listed = dictionaries(table)
        renumbered = {
            "task": [tasks.number(_entry_key(entry)) for entry in listed.tasks],
            "target": [targets.number(target) for target in listed.targets],
            "layout": [layouts.number(layout) for layout in listed.layouts],
        }
        for name, numbers in renumbered.items():
            column = pa.array(numbers, COLUMNS[name]).take(table.column(name).combine_chunks())
            table = table.set_column(table.schema.get_field_index(name), name, column)
        parts.append(table.select(list(COLUMNS)).cast(pa.schema(COLUMNS.items())))
    return pa.concat_tables(parts).replace_schema_metadata(_described(tasks, targets, layouts))


def upgraded(table: pa.Table) -> pa.Table:
    """A table of any known schema version with the columns of this one; ValueError as ``dictionaries``."""
    for version in range(_version(table) + 1, SCHEMA_VERSION + 1):
        for name, value in ADDED_COLUMNS[version].items():
            table = table.append_column(name, pa.array([value] * table.num_rows, COLUMNS[name]))
    return table


def dictionaries(table: pa.Table) -> Dictionaries:
    """Tasks, targets and layouts of a table.

    Raises:
        ValueError: the table holds no records, or records of a newer schema.
    """
    _version(table)
    described = _description(table)
    missing = [name for name in COLUMNS if name not in table.schema.names]
    if missing:
        raise ValueError(f"column {missing[0]} is missing")
    return Dictionaries(
        tasks=tuple(
            TaskEntry(name, operator, json.loads(parameters), program_hash, text)
            for name, operator, parameters, program_hash, text in described["tasks"]
        ),
        targets=tuple(target_from_json(text) for text in described["targets"]),
        layouts=tuple((sketch, tuple(names)) for sketch, names in described["layouts"]),
    )


class _Numbering:
    """Numbers distinct values in the order of their first appearance."""

    def __init__(self) -> None:
        self._numbers: dict[Any, int] = {}

    def number(self, value: Any) -> int:
        return self._numbers.setdefault(value, len(self._numbers))

    @property
    def values(self) -> list[Any]:
        return list(self._numbers)


def _description(table: pa.Table) -> dict[str, Any]:
    described: dict[str, Any] = json.loads((table.schema.metadata or {}).get(METADATA_KEY, b"{}"))
    return described


def _version(table: pa.Table) -> int:
    version = _description(table).get("schema_version")
    if version is None:
        raise ValueError("no records inside: the description of tasks and targets is missing")
    if version > SCHEMA_VERSION:
        raise ValueError(f"records of schema version {version}, this program knows up to {SCHEMA_VERSION}")
    return int(version)


def _described(tasks: _Numbering, targets: _Numbering, layouts: _Numbering) -> dict[bytes, bytes]:
    described = {
        "schema_version": SCHEMA_VERSION,
        "tasks": tasks.values,
        "targets": [target_to_json(target) for target in targets.values],
        "layouts": layouts.values,
    }
    return {METADATA_KEY: json.dumps(described).encode()}


def _task_key(record: Record) -> tuple[str, ...]:
    parameters = canonical_json(record.parameters)
    return (record.task, record.operator, parameters, record.program_hash, record.program_text)


def _entry_key(entry: TaskEntry) -> tuple[str, ...]:
    parameters = canonical_json(entry.parameters)
    return (entry.name, entry.operator, parameters, entry.program_hash, entry.program_text)


def _record(row: Mapping[str, Any], listed: Dictionaries) -> Record:
    task = listed.tasks[row["task"]]
    sketch, names = listed.layouts[row["layout"]]
    failure = None
    if row["failure_kind"] is not None:
        failure = Failure(row["failure_kind"], row["failure_message"], row["failure_command"])
    return Record(
        task=task.name,
        operator=task.operator,
        parameters=task.parameters,
        program_hash=task.program_hash,
        program_text=task.program_text,
        target=listed.targets[row["target"]],
        sketch=sketch,
        knobs=dict(zip(names, row["knobs"], strict=True)),
        measurement=Measurement(
            tuple(row["times_s"]), failure, **{name: row[name] for name in MEASURED_COLUMNS}
        ),
        source=row["source"],
        seed=row["seed"],
        trial=row["trial"],
        measured_at=row["measured_at"].isoformat(timespec="microseconds"),
        code_version=row["code_version"],
        compiler=row["compiler"],
        cache=row["cache"],
    )
