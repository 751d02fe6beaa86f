"""scripts/records.py: each action by command, and what a bad file gets."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codegen.ir.text import program_text
from codegen.measure.detect import detect_target
from codegen.measure.measurement import Measurement
from codegen.ops import make_operator
from codegen.schedule import build_space
from datasets.parquet import load_records, save_records
from datasets.plan import plain_candidate
from datasets.record import Record
from datasets.store import RecordStore
from tests.scripts.in_process import run_script

MATMUL = {"m": 32, "k": 16, "n": 32}


@pytest.fixture(scope="module")
def records() -> list[Record]:
    program, target = make_operator("matmul", MATMUL).program(), detect_target()
    space = build_space(program, target)
    candidates = space.sample(8, np.random.default_rng(0))
    return [
        Record(
            task="small",
            operator="matmul",
            parameters=MATMUL,
            program_hash=program.hash,
            program_text=program_text(program),
            target=target,
            measurement=Measurement((2.0**-10,)),
            source="random",
            seed=0,
            trial=row,
            measured_at=f"2025-01-31T12:{row:02}:00.000000+00:00",
            code_version="v1",
            **plain_candidate(space, candidates, row),
        )
        for row in range(len(candidates))
    ]


@pytest.fixture
def folder(tmp_path: Path, records: list[Record]) -> Path:
    """``mine.db`` holds the first half of the records, ``theirs.db`` and ``theirs.parquet`` the second."""
    for name, half in (("mine", records[:4]), ("theirs", records[4:])):
        with RecordStore(tmp_path / f"{name}.db") as store:
            store.append(half)
    save_records(records[4:], tmp_path / "theirs.parquet")
    return tmp_path


def test_a_published_file_is_imported_and_exported_again(folder: Path, records: list[Record]) -> None:
    assert act(folder, "import", "store=new/mine.db", "path=theirs.parquet")["num_added"] == 4
    assert act(folder, "export", "store=new/mine.db", "path=new/again.parquet")["num_records"] == 4
    assert load_records(folder / "new/again.parquet") == load_records(folder / "theirs.parquet")


def test_stores_are_merged(folder: Path, records: list[Record]) -> None:
    found = act(folder, "merge", "store=mine.db", "path=theirs.db")
    assert (found["num_added"], found["num_records"]) == (4, 8)
    with RecordStore(folder / "mine.db") as store:
        assert store.records(all_targets=True) == records


@pytest.mark.parametrize("name", ["theirs.db", "theirs.parquet"])
def test_sound_records_are_verified(folder: Path, name: str) -> None:
    assert act(folder, "verify", f"path={name}") == {"num_records": 4}


def test_one_task_is_exported_as_t4(folder: Path) -> None:
    fingerprint = "fingerprint=" + detect_target().fingerprint
    assert (
        act(folder, "t4", fingerprint, "store=mine.db", "path=small.json", "name=small")["num_records"] == 4
    )
    assert len(json.loads((folder / "small.json").read_text())["results"]) == 4


def newer_store(folder: Path) -> None:
    execute(folder / "theirs.db", "UPDATE meta SET value = '99' WHERE key = 'schema_version'")


def empty_store(folder: Path) -> None:
    (folder / "theirs.db").write_bytes(b"")


def cut_store(folder: Path) -> None:
    cut(folder / "theirs.db")


def cut_file(folder: Path) -> None:
    cut(folder / "theirs.parquet")


def changed_knobs(folder: Path) -> None:
    execute(folder / "theirs.db", "UPDATE records SET sketch = 'absent' WHERE id = 1")


@pytest.mark.parametrize(
    ("damage", "overrides", "words"),
    [
        (newer_store, ["action=merge", "path=theirs.db"], "schema version 99"),
        (cut_store, ["action=verify", "path=theirs.db"], "theirs.db"),
        (cut_file, ["action=import", "path=theirs.parquet"], "theirs.parquet"),
        (cut_file, ["action=verify", "path=theirs.parquet"], "theirs.parquet"),
        (
            changed_knobs,
            ["action=verify", "path=theirs.db"],
            "theirs.db: number of problems 1, the first: record 1 of task small",
        ),
        (None, ["action=merge", "path=absent.db"], "there is no record store absent.db"),
        (
            None,
            ["action=export", "store=absent.db", "path=new.parquet"],
            "there is no record store absent.db",
        ),
        (None, ["action=t4", "path=new.json", "name=absent"], "name must be one of small, got absent"),
        (None, ["action=t4", "path=new.json", "fingerprint=0"], "fingerprint must be one of "),
        (empty_store, ["action=verify", "path=theirs.db"], "theirs.db is an empty file, not a record store"),
        (None, ["action=move", "path=theirs.db"], "import, merge, export, t4, verify, ansor, got 'move'"),
    ],
)
def test_a_mistake_is_one_sentence_and_harms_nothing(
    folder: Path, damage: Any, overrides: list[str], words: str
) -> None:
    if damage is not None:
        damage(folder)
    before = contents(folder)
    finished = run_script("records", folder, "store=mine.db", *overrides)
    assert finished.returncode == 2, finished.stdout + finished.stderr
    assert len(finished.stderr.strip().splitlines()) == 1
    assert words in finished.stderr
    assert contents(folder) == before


def act(folder: Path, action: str, *overrides: str) -> dict[str, Any]:
    finished = run_script("records", folder, f"action={action}", *overrides)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    found: dict[str, Any] = json.loads((folder / "run" / "metrics.json").read_text())
    return {name: value for name, value in found.items() if name.startswith("num_")}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def execute(path: Path, statement: str) -> None:
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(statement)
    connection.close()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
