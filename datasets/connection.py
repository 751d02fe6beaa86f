"""The tables of a record store, and opening a database without harming what it is not."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Double,
    Engine,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    create_engine,
    event,
    inspect,
    select,
)
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, NoSuchModuleError

from datasets.record import SCHEMA_VERSION

METADATA = MetaData()

META = Table(
    "meta", METADATA, Column("key", String(64), primary_key=True), Column("value", Text, nullable=False)
)

TARGETS = Table(
    "targets",
    METADATA,
    Column("fingerprint", String(16), primary_key=True),
    Column("description", Text, nullable=False),
)

TASKS = Table(
    "tasks",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False),
    Column("operator", Text, nullable=False),
    Column("parameters", Text, nullable=False),
    Column("program_hash", String(16), nullable=False, index=True),
    Column("program_text", Text, nullable=False),
    UniqueConstraint("name", "operator", "parameters", "program_hash"),
)

RECORDS = Table(
    "records",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("digest", String(32), nullable=False, unique=True),
    Column("task_id", ForeignKey("tasks.id"), nullable=False),
    Column("fingerprint", ForeignKey("targets.fingerprint"), nullable=False),
    Column("sketch", Text, nullable=False),
    Column("knobs", Text, nullable=False),
    Column("times_s", Text, nullable=False),
    Column("failure_kind", String(16)),
    Column("failure_message", Text, nullable=False),
    Column("failure_command", Text, nullable=False),
    Column("compile_s", Double, nullable=False),
    Column("total_s", Double, nullable=False),
    Column("reference_s", Double, nullable=False),
    Column("unsteadiness", Double, nullable=False, server_default="0"),
    Column("source", String(16), nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("trial", Integer, nullable=False),
    Column("measured_at", String(32), nullable=False),
    Column("code_version", Text, nullable=False),
    Column("compiler", Text, nullable=False, server_default=""),
    Column("cache", String(8), nullable=False, server_default="warm"),
    Index("records_by_task", "task_id", "fingerprint"),
)


_UPGRADES = {
    2: (
        "ALTER TABLE records ADD COLUMN compiler TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE records ADD COLUMN cache VARCHAR(8) NOT NULL DEFAULT 'warm'",
    ),
    3: ("ALTER TABLE records ADD COLUMN unsteadiness DOUBLE PRECISION NOT NULL DEFAULT 0",),
}
"""By schema version: what turns the tables of the version before into its own."""


def open_engine(location: str) -> Engine:
    """Connect to a path or URL, creating the tables where there are none and upgrading older ones.

    Raises:
        ValueError: naming the location and what is wrong with it.
    """
    url, shown = _url(location), shown_location(location)
    backend = url.get_backend_name()
    if backend not in ("sqlite", "postgresql"):
        raise ValueError(f"records live in SQLite or PostgreSQL, got {shown!r}")
    path = Path(url.database) if backend == "sqlite" and url.database else None
    if path is not None:
        _check_file(path)
    try:
        engine = create_engine(url)
    except ImportError as error:
        raise ValueError(
            f"record store {shown} needs a driver ({error}): pip install -e '.[postgresql]'"
        ) from None
    if backend == "sqlite":
        event.listen(engine, "connect", _set_pragmas)
    try:
        _check_schema(engine, shown)
        _create_tables(engine)
    except DatabaseError as error:
        engine.dispose()
        raise ValueError(f"cannot open record store {shown}: {error.orig}") from None
    except ValueError:
        engine.dispose()
        raise
    return engine


def is_url(location: str) -> bool:
    """Whether a location is a database URL rather than the path of a file."""
    return "://" in location


def shown_location(location: str) -> str:
    """The location as messages may show it: without a password."""
    try:
        return make_url(location).render_as_string(hide_password=True) if is_url(location) else location
    except (ArgumentError, ValueError):
        return location.partition("://")[0] + "://..."


def _url(location: str) -> URL:
    if not is_url(location):
        return URL.create("sqlite", database=location)
    try:
        url = make_url(location)
        if url.drivername == "postgresql":
            url = url.set(drivername="postgresql+psycopg")  # the driver of our extra, whatever the default
        url.get_dialect()
    except (ArgumentError, NoSuchModuleError, ValueError) as error:
        reason = str(error).replace(location, shown_location(location))
        raise ValueError(f"not a database URL: {shown_location(location)!r} ({reason})") from None
    return url


def _check_file(path: Path) -> None:
    """Look before the first write: even setting the journal mode would change a foreign file."""
    if path.is_dir():
        raise ValueError(f"record store {path} is a folder, not a database file")
    if not path.parent.is_dir():
        raise ValueError(f"cannot create record store {path}: there is no folder {path.parent}")
    # A process killed right after creating the file leaves it empty; SQLite starts afresh in it.
    if not path.exists() or path.stat().st_size == 0:
        return
    with path.open("rb") as file:
        if file.read(16) != b"SQLite format 3\x00":
            raise ValueError(f"{path} is not a record store: not an SQLite database")
    engine = create_engine("sqlite://", creator=lambda: _connect_read_only(path))
    try:
        with engine.connect() as connection:
            result = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
            if result != "ok":
                raise ValueError(f"record store {path} is damaged: {result}")
        _check_schema(engine, str(path))
    except DatabaseError as error:
        raise ValueError(f"record store {path} cannot be read: {error.orig}") from None
    finally:
        engine.dispose()


def _connect_read_only(path: Path) -> sqlite3.Connection:
    # Even reading creates a log beside the file, unless SQLite is told that nobody else writes.
    is_idle = not path.with_name(f"{path.name}-wal").exists()
    options = "mode=ro&immutable=1" if is_idle else "mode=ro"
    return sqlite3.connect(f"file:{quote(str(path.absolute()))}?{options}", uri=True, timeout=30)


def _check_schema(engine: Engine, location: str) -> None:
    """Accept an empty database and one with our tables in a known version."""
    names = set(inspect(engine).get_table_names())
    if not names:
        return
    missing = sorted(set(METADATA.tables) - names)
    if missing:
        raise ValueError(f"{location} is a database of something else: it has no table {missing[0]}")
    with engine.connect() as connection:
        found = connection.execute(select(META.c.value).where(META.c.key == "schema_version")).scalar()
    if found is None or not found.isdigit():
        raise ValueError(f"record store {location} has no readable schema version, got {found!r}")
    if int(found) > SCHEMA_VERSION:
        raise ValueError(
            f"record store {location} has schema version {found}, this program knows up to {SCHEMA_VERSION}"
        )


def _create_tables(engine: Engine) -> None:
    with engine.begin() as connection:
        if engine.dialect.name == "sqlite":
            # The driver opens no transaction for CREATE TABLE; a kill could leave half of the tables.
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        METADATA.create_all(connection)
        _upgrade(connection)


def _upgrade(connection: Connection) -> None:
    is_version = META.c.key == "schema_version"
    # Whoever opens an old database at the same time waits here, and then finds it upgraded.
    found = connection.execute(select(META.c.value).where(is_version).with_for_update()).scalar()
    if found is None:
        connection.execute(META.insert().values(key="schema_version", value=str(SCHEMA_VERSION)))
        return
    for version in range(int(found) + 1, SCHEMA_VERSION + 1):
        for statement in _UPGRADES[version]:
            connection.exec_driver_sql(statement)
    if int(found) < SCHEMA_VERSION:
        connection.execute(META.update().where(is_version).values(value=str(SCHEMA_VERSION)))


def _set_pragmas(connection: Any, _: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA busy_timeout=30000")
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()
