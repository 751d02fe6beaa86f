"""Which records the config group ``data`` names."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from codegen.measure.measurement import Measurement
from codegen.target import Target
from datasets.parquet import save_records
from datasets.record import Record, text_hash
from datasets.store import RecordStore
from scripts.options.data import DataConfig

TEXT = "program any\ninput a\n"
TARGET = Target(
    name="here",
    cpu="a cpu",
    llvm_cpu="x86-64-v3",
    llvm_features="+avx2",
    vector_lanes=8,
    num_vector_registers=16,
    num_threads=2,
    l1_bytes=1,
    l2_bytes=2,
    l3_bytes=3,
)


def record(tile: int, latency_s: float, minute: int, task: str = "a") -> Record:
    return Record(
        task=task,
        operator="matmul",
        parameters={"m": 64},
        program_hash=text_hash(TEXT),
        program_text=TEXT,
        target=TARGET,
        sketch="tiled",
        knobs={"tile": tile},
        measurement=Measurement((latency_s,)),
        source="random",
        seed=0,
        measured_at=f"2025-01-31T12:{minute:02}:00.000000+00:00",
        code_version="v1",
    )


@pytest.fixture
def two_files(tmp_path: Path) -> Path:
    save_records([record(1, 1e-3, 0), record(2, 4e-3, 1)], tmp_path / "one.parquet")
    save_records([record(2, 2e-3, 2, "b"), record(3, 5e-4, 3, "b")], tmp_path / "two.parquet")
    return tmp_path


def test_a_task_in_two_files_is_labelled_and_paired_as_one(two_files: Path) -> None:
    [task] = DataConfig(path=str(two_files / "*.parquet")).table().tasks
    assert task.labels == pytest.approx([0.5, 5 / 30, 1.0])
    assert task.repeat_pairs == pytest.approx(np.array([[4e-3, 2e-3]]))


def test_no_candidate_of_two_files_is_on_both_sides(two_files: Path) -> None:
    config = DataConfig(path=str(two_files / "*.parquet"), split="within_task", test_fraction=0.4)
    split = config.divide(config.table(), seed=0)
    train, test = (
        {str(t.named(row)) for t in side.tasks for row in range(len(t))} for side in (split.train, split.test)
    )
    assert (len(train), len(test)) == (2, 1)
    assert not train & test


def test_a_database_url_names_a_store(tmp_path: Path) -> None:
    config = DataConfig(path=f"sqlite:///{tmp_path}/mine.db")
    hashes = []
    for tile in (1, 2):
        with RecordStore(config.path) as store:
            store.append([record(tile, 1e-3, tile)])
        hashes += [config.file_hash(), config.file_hash()]
    assert config.table().num_candidates == 2
    assert hashes[0] == hashes[1] != hashes[2] == hashes[3]


def test_stores_and_published_files_mix(two_files: Path) -> None:
    with RecordStore(two_files / "mine.db") as store:
        store.append([record(3, 5e-4, 3, "b"), record(4, 1e-3, 4)])
    [task] = DataConfig(path=str(two_files / "*[!t]*")).table().tasks
    assert len(task) == 4


def test_a_few_tasks_of_each_side_are_drawn_alike(tmp_path: Path) -> None:
    some = [
        replace(record(tile, tile * 1e-3, tile, name), parameters={"m": m}, program_hash=f"{m:016x}")
        for m, name in enumerate("abcdefgh")
        for tile in range(1, 7)
    ]
    save_records(some, tmp_path / "r.parquet")
    whole = DataConfig(path=str(tmp_path / "r.parquet"), split="within_task", test_fraction=0.5)
    few = replace(whole, num_tasks=3)
    split, other = few.divide(few.table(), seed=0), few.divide(few.table(), seed=1)
    names = [task.name for task in split.train.tasks]
    assert names == [task.name for task in split.test.tasks]
    assert len(names) == 3
    assert names != [task.name for task in other.train.tasks]
    assert len(replace(whole, num_tasks=99).divide(whole.table(), seed=0).train.tasks) == 8
    assert few.file_hash() != whole.file_hash()
    with pytest.raises(ValueError, match=r"data\.num_tasks must be at least 1, got 0"):
        DataConfig(num_tasks=0)


@pytest.mark.parametrize(
    ("split", "words"),
    [
        ("by_operator", "data.split=by_operator needs data.held_out to name operators; there are matmul"),
        ("by_target", f"name targets by their fingerprints; there are {TARGET.fingerprint} (here)"),
        ("by_name", "data.split=by_name needs data.held_out to name tasks; there are a, b"),
    ],
)
def test_patterns_that_nobody_gave_are_not_what_a_split_complains_about(
    two_files: Path, split: str, words: str
) -> None:
    config = DataConfig(path=str(two_files / "*.parquet"), split=split)
    with pytest.raises(ValueError, match=f"{re.escape(words)}$"):
        config.divide(config.table(), seed=0)
