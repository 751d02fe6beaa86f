"""The append-only store of records: SQLite by default, PostgreSQL by URL."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from sqlalchemy import Connection, Table, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DatabaseError

from codegen.any_target import AnyTarget
from datasets.connection import RECORDS, TARGETS, TASKS, open_engine, shown_location
from datasets.record import Record, fingerprint, target_to_json
from datasets.rows import TaskKey, joined_rows, read_records, read_targets, record_row, task_key
from datasets.verify import find_problems

_BATCH = 2_000  # records held in memory at once while merging; below SQLite's limit on variables


class RecordStore:
    """Records under a file path or a database URL; a missing file is created, its folder is not.

    Every ``append`` is one transaction: once it returns, killing the process loses nothing (SQLite
    in WAL mode with synchronous=NORMAL; only a power cut may cost the last moments).

    Raises:
        ValueError: the file is no record store, is damaged, or has a newer schema. It is not touched.
    """

    def __init__(self, location: str | Path) -> None:
        self.location = shown_location(str(location))
        self._engine = open_engine(str(location))

    def __enter__(self) -> RecordStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the database; the store cannot be used afterwards."""
        self._engine.dispose()

    def append(self, records: Sequence[Record]) -> int:
        """Add the trials that are not there yet, in one transaction; returns how many were new."""
        return sum(self._append(records[start : start + _BATCH]) for start in range(0, len(records), _BATCH))

    def records(
        self,
        *,
        task: str | None = None,
        program_hash: str | None = None,
        target: AnyTarget | str | None = None,
        all_targets: bool = False,
    ) -> list[Record]:
        """Trials in the order they were added.

        Args:
            task: only the task of that name.
            program_hash: only tasks with this program.
            target: the target or its fingerprint.
            all_targets: read every target; timings of different targets are not comparable.

        Raises:
            ValueError: neither or both of ``target`` and ``all_targets`` are given.
        """
        if (target is None) != all_targets:
            raise ValueError("reading records needs either a target (or its fingerprint) or all_targets=True")
        query = joined_rows()
        if task is not None:
            query = query.where(TASKS.c.name == task)
        if program_hash is not None:
            query = query.where(TASKS.c.program_hash == program_hash)
        if target is not None:
            query = query.where(RECORDS.c.fingerprint == _fingerprint(target))
        with self._transaction() as connection:
            return read_records(connection.execute(query).all(), read_targets(connection))

    def count(self) -> int:
        """Number of trials, of all targets."""
        with self._transaction() as connection:
            return connection.execute(select(func.count()).select_from(RECORDS)).scalar_one()

    def merge(self, other: RecordStore) -> int:
        """Add the other store's trials that are not here yet; returns how many there were."""
        return sum(self.append(batch) for batch in other.batches())

    def batches(self) -> Iterator[list[Record]]:
        """All trials of all targets in order, some thousands at a time."""
        last = 0
        while True:
            query = joined_rows().where(RECORDS.c.id > last).limit(_BATCH)
            with self._transaction() as connection:
                rows = connection.execute(query).all()
                targets = read_targets(connection)
            if not rows:
                return
            last = rows[-1].id
            yield read_records(rows, targets)

    def verify(self) -> list[str]:
        """One sentence for each thing that is wrong; empty for a sound store."""
        with self._transaction() as connection:
            return find_problems(connection)

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        try:
            with self._engine.begin() as connection:
                yield connection
        except DatabaseError as error:
            raise ValueError(f"record store {self.location} failed: {error.orig}") from error

    def _append(self, records: Sequence[Record]) -> int:
        by_digest = {record.digest: record for record in records}
        with self._transaction() as connection:
            # Writing first takes the lock; a transaction that begins by reading could lose it to another.
            _add_targets(connection, records)
            task_ids = _add_tasks(connection, records)
            query = select(RECORDS.c.digest).where(RECORDS.c.digest.in_(by_digest))
            known = set(connection.execute(query).scalars())
            fresh = [record for digest, record in by_digest.items() if digest not in known]
            rows = [record_row(record, task_ids[task_key(record)]) for record in fresh]
            if rows:
                _insert_new(connection, RECORDS, rows)
        return len(fresh)


def _add_targets(connection: Connection, records: Sequence[Record]) -> None:
    found = {fingerprint(record.target): record.target for record in records}
    rows = [{"fingerprint": key, "description": target_to_json(value)} for key, value in found.items()]
    _insert_new(connection, TARGETS, rows)


def _add_tasks(connection: Connection, records: Sequence[Record]) -> dict[TaskKey, int]:
    texts = {task_key(record): record.program_text for record in records}
    names = ("name", "operator", "parameters", "program_hash", "program_text")
    _insert_new(
        connection, TASKS, [dict(zip(names, (*key, text), strict=True)) for key, text in texts.items()]
    )
    rows = connection.execute(select(TASKS).where(TASKS.c.program_hash.in_({key[3] for key in texts})))
    return {(row.name, row.operator, row.parameters, row.program_hash): row.id for row in rows}


def _insert_new(connection: Connection, table: Table, rows: Sequence[Mapping[str, object]]) -> None:
    """Insert the rows whose unique columns are not there yet."""
    if connection.dialect.name == "sqlite":
        connection.execute(sqlite.insert(table).on_conflict_do_nothing(), rows)
    else:
        connection.execute(postgresql.insert(table).on_conflict_do_nothing(), rows)


def _fingerprint(target: AnyTarget | str) -> str:
    return target if isinstance(target, str) else fingerprint(target)
