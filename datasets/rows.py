"""Records as rows of the store's tables, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from sqlalchemy import Connection, Row, Select, select

from codegen.any_target import AnyTarget
from codegen.measure.measurement import Failure, Measurement
from datasets.connection import RECORDS, TARGETS, TASKS
from datasets.record import Record, canonical_json, fingerprint, target_from_json

TaskKey: TypeAlias = tuple[str, str, str, str]
"""Name, operator, parameters as canonical JSON, program hash."""


def task_key(record: Record) -> TaskKey:
    """What tells the rows of the task table apart."""
    return (record.task, record.operator, canonical_json(record.parameters), record.program_hash)


def record_row(record: Record, task_id: int) -> dict[str, object]:
    """The row of the record table."""
    measurement, failure = record.measurement, record.failure
    return {
        "digest": record.digest,
        "task_id": task_id,
        "fingerprint": fingerprint(record.target),
        "sketch": record.sketch,
        "knobs": canonical_json(record.knobs),
        "times_s": json.dumps(list(record.times_s)),
        "failure_kind": failure.kind if failure else None,
        "failure_message": failure.message if failure else "",
        "failure_command": failure.command if failure else "",
        "compile_s": measurement.compile_s,
        "total_s": measurement.total_s,
        "reference_s": measurement.reference_s,
        "unsteadiness": measurement.unsteadiness,
        "source": record.source,
        "seed": record.seed,
        "trial": record.trial,
        "measured_at": record.measured_at,
        "code_version": record.code_version,
        "compiler": record.compiler,
        "cache": record.cache,
    }


def joined_rows() -> Select[Any]:
    """Records with the columns of their tasks, in the order they were added."""
    tasks = [column for column in TASKS.c if column.name != "id"]
    return select(RECORDS, *tasks).join(TASKS, RECORDS.c.task_id == TASKS.c.id).order_by(RECORDS.c.id)


def read_targets(connection: Connection) -> dict[str, AnyTarget]:
    """Every target by fingerprint."""
    rows = connection.execute(select(TARGETS))
    return {row.fingerprint: target_from_json(row.description) for row in rows}


def read_records(rows: Sequence[Row[Any]], targets: Mapping[str, AnyTarget]) -> list[Record]:
    """The records of rows of ``joined_rows``; equal task columns are parsed once."""
    parsed: dict[str, Any] = {}
    for row in rows:
        if row.parameters not in parsed:
            parsed[row.parameters] = json.loads(row.parameters)
    return [_record(row, targets[row.fingerprint], parsed[row.parameters]) for row in rows]


def _record(row: Row[Any], target: AnyTarget, parameters: dict[str, Any]) -> Record:
    failure = None
    if row.failure_kind is not None:
        failure = Failure(row.failure_kind, row.failure_message, row.failure_command)
    return Record(
        task=row.name,
        operator=row.operator,
        parameters=parameters,
        program_hash=row.program_hash,
        program_text=row.program_text,
        target=target,
        sketch=row.sketch,
        knobs=json.loads(row.knobs),
        measurement=Measurement(
            times_s=tuple(json.loads(row.times_s)),
            failure=failure,
            compile_s=row.compile_s,
            total_s=row.total_s,
            reference_s=row.reference_s,
            unsteadiness=row.unsteadiness,
        ),
        source=row.source,
        seed=row.seed,
        trial=row.trial,
        measured_at=row.measured_at,
        code_version=row.code_version,
        compiler=row.compiler,
        cache=row.cache,
    )
