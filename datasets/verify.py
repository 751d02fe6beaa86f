"""What can be wrong with the contents of a record store."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, select

from codegen.any_target import AnyTarget
from datasets.connection import RECORDS, TARGETS, TASKS
from datasets.record import target_from_json, text_hash
from datasets.rows import joined_rows, read_records


def find_problems(connection: Connection) -> list[str]:
    """One sentence for each thing that is wrong; empty for a sound store."""
    problems = _damage(connection) + _dangling(connection)
    targets, wrong_targets = _targets(connection)
    problems += wrong_targets + _wrong_programs(connection)
    for row in connection.execute(joined_rows()):
        if row.fingerprint in targets:
            problems += _record_problems(row, targets)
    return problems


def _damage(connection: Connection) -> list[str]:
    if connection.dialect.name != "sqlite":
        return []
    found = [str(line) for line in connection.exec_driver_sql("PRAGMA integrity_check").scalars()]
    return [] if found == ["ok"] else [f"damaged file: {line}" for line in found]


def _dangling(connection: Connection) -> list[str]:
    task_ids, fingerprints = select(TASKS.c.id), select(TARGETS.c.fingerprint)
    query = select(RECORDS.c.id).where(
        RECORDS.c.task_id.not_in(task_ids) | RECORDS.c.fingerprint.not_in(fingerprints)
    )
    return [
        f"record {number} belongs to no task or no target" for number in connection.execute(query).scalars()
    ]


def _targets(connection: Connection) -> tuple[dict[str, AnyTarget], list[str]]:
    targets, problems = {}, []
    for row in connection.execute(select(TARGETS)):
        try:
            target = target_from_json(row.description)
        except ValueError as error:
            problems.append(f"target {row.fingerprint}: {error}")
            continue
        targets[row.fingerprint] = target
        if target.fingerprint != row.fingerprint:
            problems.append(f"target {row.fingerprint} has the fingerprint {target.fingerprint}")
    return targets, problems


def _wrong_programs(connection: Connection) -> list[str]:
    return [
        f"task {row.name} has program hash {row.program_hash}, but its text has {text_hash(row.program_text)}"
        for row in connection.execute(select(TASKS))
        if row.program_text and text_hash(row.program_text) != row.program_hash
    ]


def _record_problems(row: Row[Any], targets: dict[str, AnyTarget]) -> list[str]:
    """Building the record checks its times, knobs and failure; the digest covers what identifies it."""
    try:
        (record,) = read_records([row], targets)
    except (ValueError, TypeError) as error:
        return [f"record {row.id} of task {row.name}: {error}"]
    if record.digest != row.digest:
        return [f"record {row.id} of task {row.name} has digest {row.digest}, its contents {record.digest}"]
    return []
