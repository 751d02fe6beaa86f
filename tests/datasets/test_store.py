from __future__ import annotations

import sqlite3
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from datasets.record import SCHEMA_VERSION, Record
from datasets.store import RecordStore


def test_records_come_back_as_they_were(tmp_path: Path, make_record, target) -> None:
    records = [make_record(8), make_record(16, failure="compile", minute=1), make_record(8, minute=2)]
    with RecordStore(tmp_path / "records.db") as store:
        assert store.append(records) == 3
    with RecordStore(f"sqlite:///{tmp_path}/records.db") as store:
        assert store.records(target=target) == records
        assert store.count() == 3
        assert store.verify() == []


def test_the_same_trial_is_stored_once(tmp_path: Path, make_record) -> None:
    with RecordStore(tmp_path / "records.db") as store:
        assert store.append([make_record(), make_record()]) == 1
        assert store.append([make_record(), make_record(minute=1)]) == 1
        assert store.append([]) == 0
        assert store.count() == 2


def test_reading_needs_a_target_or_the_word_for_all(
    tmp_path: Path, make_record, target, other_target
) -> None:
    here, there = make_record(), make_record(target=other_target)
    with RecordStore(tmp_path / "records.db") as store:
        store.append([here, there])
        assert store.records(target=target) == [here]
        assert store.records(target=other_target.fingerprint) == [there]
        assert store.records(all_targets=True) == [here, there]
        with pytest.raises(ValueError, match="all_targets=True"):
            store.records()
        with pytest.raises(ValueError, match="all_targets=True"):
            store.records(target=target, all_targets=True)


def test_records_are_found_by_task_and_by_program(tmp_path: Path, make_record) -> None:
    a, b = make_record(task="a"), make_record(task="b")
    twin = make_record(task="a_again", program="a")
    with RecordStore(tmp_path / "records.db") as store:
        store.append([a, b, twin])
        assert store.records(task="b", all_targets=True) == [b]
        assert store.records(program_hash=a.program_hash, all_targets=True) == [a, twin]


def test_merging_adds_what_is_missing_and_only_that(tmp_path: Path, make_record, other_target) -> None:
    shared, left, right = make_record(minute=0), make_record(minute=1), make_record(target=other_target)
    with RecordStore(tmp_path / "left.db") as one, RecordStore(tmp_path / "right.db") as other:
        one.append([left, shared])
        other.append([shared, right])
        assert one.merge(other) == 1
        assert one.merge(other) == 0
        assert one.records(all_targets=True) == [left, shared, right]
        assert one.verify() == []


def test_two_writers_at_once_lose_nothing(tmp_path: Path, make_record) -> None:
    path = tmp_path / "records.db"
    RecordStore(path).close()

    def write(seed: int) -> None:
        with RecordStore(path) as store:
            for trial in range(40):
                store.append([make_record(task=f"task_{trial}", seed=seed, trial=trial)])

    threads = [threading.Thread(target=write, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with RecordStore(path) as store:
        assert store.count() == 120


def test_a_newer_schema_is_refused_with_both_versions(tmp_path: Path, make_record) -> None:
    path = filled(tmp_path, make_record)
    change(path, "UPDATE meta SET value = '7' WHERE key = 'schema_version'")
    assert_refused_untouched(path, rf"version 7.*up to {SCHEMA_VERSION}")


@pytest.mark.parametrize("version", [1, 2])
def test_a_database_of_an_older_schema_is_upgraded_as_it_is_opened(
    tmp_path: Path, make_record, version: int
) -> None:
    path = filled(tmp_path, make_record)
    before = [replace(each, measurement=replace(each.measurement, unsteadiness=0.0)) for each in stored(path)]
    make_old(path, version)
    assert stored(path) == before
    flushed = make_record(cache="flushed", compiler="LLVM 22.1.0")
    with RecordStore(path) as store:
        assert store.append([flushed]) == 1
        assert store.verify() == []
    assert stored(path) == [*before, flushed]
    assert read(path, "SELECT value FROM meta") == [(str(SCHEMA_VERSION),)]


def test_an_upgrade_that_fails_leaves_the_old_schema(tmp_path: Path, make_record) -> None:
    path = filled(tmp_path, make_record)
    make_old(path)
    change(path, "ALTER TABLE records ADD COLUMN cache TEXT")  # the second of the columns to add
    for _ in range(2):
        with pytest.raises(ValueError, match=r"cannot open record store .*duplicate column name: cache"):
            RecordStore(path)
    assert read(path, "SELECT value FROM meta") == [("1",)]
    assert "compiler" not in {name for _, name, *_ in read(path, "PRAGMA table_info(records)")}


def test_several_openers_upgrade_once(tmp_path: Path, make_record) -> None:
    path = filled(tmp_path, make_record)
    make_old(path)
    with ThreadPoolExecutor(4) as pool:
        assert len(list(pool.map(stored, [path] * 4))) == 4


def test_what_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database, but dear to its owner\n" * 100)
    assert_refused_untouched(path, "notes.txt is not a record store")


def test_a_database_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "music.db"
    change(path, "CREATE TABLE songs (title TEXT)")
    assert_refused_untouched(path, "database of something else")


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_database_cut_short_is_refused(tmp_path: Path, make_record, share: float) -> None:
    path = filled(tmp_path, make_record)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    assert_refused_untouched(path, "records.db")


def test_an_empty_file_left_by_a_killed_process_is_used(tmp_path: Path, make_record) -> None:
    path = tmp_path / "records.db"
    path.touch()
    with RecordStore(path) as store:
        assert store.append([make_record()]) == 1


def test_no_message_shows_a_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for url in (
        "postgresql://me:secret@127.0.0.1:1/records",
        "mysql://me:secret@x/y",
        "nothing://me:secret@x",
    ):
        with pytest.raises(ValueError, match=r"me:|nothing|mysql") as caught:
            RecordStore(url)
        assert "secret" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_driver_is_one_sentence_that_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ValueError, match=r"needs a driver .*\.\[postgresql\]"):
        RecordStore("postgresql://me@127.0.0.1/records")


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("{folder}", "is a folder"),
        ("{folder}/missing/records.db", "no folder"),
        ("mysql://somewhere/records", "SQLite or PostgreSQL|not a database URL"),
        ("nonsense://somewhere", "not a database URL"),
    ],
)
def test_an_impossible_location_is_named(tmp_path: Path, location: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        RecordStore(location.format(folder=tmp_path))


@pytest.mark.parametrize(
    ("statement", "complaint"),
    [
        ("UPDATE records SET times_s = '[0.0]' WHERE id = 1", "times must be positive"),
        ("UPDATE records SET times_s = '[1.0]' WHERE id = 1", "digest"),
        ("UPDATE records SET knobs = '{\"tile_m\":1}' WHERE id = 2", "digest"),
        ("UPDATE records SET task_id = 99 WHERE id = 1", "no task or no target"),
        ("UPDATE tasks SET program_text = 'program x\nother\n'", "but its text has"),
        ("UPDATE targets SET description = replace(description, '32768', '1')", "has the fingerprint"),
    ],
)
def test_verify_finds_what_was_changed_by_hand(
    tmp_path: Path, make_record, statement: str, complaint: str
) -> None:
    path = filled(tmp_path, make_record)
    change(path, statement)
    with RecordStore(path) as store:
        problems = store.verify()
    assert any(complaint in problem for problem in problems), problems


def filled(folder: Path, make_record) -> Path:
    path = folder / "records.db"
    with RecordStore(path) as store:
        store.append([make_record(tile, minute=tile % 60) for tile in range(1, 400)])
    return path


def make_old(path: Path, version: int = 1) -> None:
    """As an earlier version of the schema left it."""
    added = {2: ("compiler", "cache"), 3: ("unsteadiness",)}
    for column in (name for since, names in added.items() if since > version for name in names):
        change(path, f"ALTER TABLE records DROP COLUMN {column}")
    change(path, f"UPDATE meta SET value = '{version}' WHERE key = 'schema_version'")


def stored(path: Path) -> list[Record]:
    with RecordStore(path) as store:
        return store.records(all_targets=True)


def read(path: Path, query: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(path)
    rows = connection.execute(query).fetchall()
    connection.close()
    return rows


def change(path: Path, statement: str) -> None:
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(statement)
    connection.close()


def assert_refused_untouched(path: Path, reason: str) -> None:
    before = path.read_bytes()
    with pytest.raises(ValueError, match=reason):
        RecordStore(path)
    assert path.read_bytes() == before
    assert [found.name for found in path.parent.iterdir()] == [path.name]
