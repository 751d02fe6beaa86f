"""scripts/describe.py: what a set of records holds, in words and numbers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from codegen.measure.measurement import Failure, Measurement
from datasets.store import RecordStore
from tests.scripts.in_process import run_script
from tests.scripts.options.test_data import record


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten candidates, one measured twice, one failed; one by another compiler; the machine slow twice.

    Nobody has looked at the machine but for the three fastest, and found it unsteady once.
    """
    slow, looked = (8, 9), {1: 0.8, 2: 0.9, 3: 1.5}
    timed = [
        replace(
            record(tile, tile * 1e-3, tile),
            measurement=Measurement(
                (tile * 1e-3,),
                reference_s=3e-4 if tile in slow else 1e-4,
                unsteadiness=looked.get(tile, 0.0),
            ),
        )
        for tile in range(1, 10)
    ]
    again = record(1, 1.5e-3, 20)
    other = replace(record(1, 1.5e-3, 21), compiler="LLVM 22.1.0")
    failed = replace(
        record(10, 1.0, 30), measurement=Measurement((), Failure("timeout", "timeout after 1 s"))
    )
    with RecordStore(tmp_path / "mine.db") as store:
        store.append([*timed, again, other, failed])
    return tmp_path


def test_counts_noise_and_drift_are_told(folder: Path) -> None:
    finished = run_script("describe", folder, "data.path=mine.db")
    assert finished.returncode == 0, finished.stderr
    found = json.loads((folder / "run" / "metrics.json").read_text())
    assert (found["num_records"], found["num_candidates"], found["num_tasks"]) == (12, 11, 2)
    assert (found["num_failed"], found["num_failed_timeout"]) == (1, 1)
    assert found["num_repeated"] == 1
    assert found["repeat_difference_median"] == pytest.approx(0.5)
    assert found["reference_drift"] == pytest.approx(3.0)
    assert found["unsteady_share"] == pytest.approx(1 / 3)
    assert len(found["file_hash"]) == 64
    for words in ("matmul", "LLVM 22.1.0", "not noted", record(1, 1.0, 0).target.fingerprint):
        assert words in finished.stdout


def test_no_records_are_one_sentence(tmp_path: Path) -> None:
    RecordStore(tmp_path / "empty.db").close()
    finished = run_script("describe", tmp_path, "data.path=empty.db")
    assert (finished.returncode, finished.stderr) == (2, "error: data.path holds no records: empty.db\n")


def test_a_card_without_a_place_for_tables_is_refused_before_the_work(folder: Path) -> None:
    (folder / "card.md").write_text("no lines\n")
    finished = run_script("describe", folder, "data.path=mine.db", "card=card.md")
    assert finished.returncode == 2
    assert "card.md must have the lines" in finished.stderr
    assert not finished.stdout
    assert (folder / "card.md").read_text() == "no lines\n"
