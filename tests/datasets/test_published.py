"""The data set that comes with the project is what its card says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from codegen.ops import WORKLOADS, make_operator
from datasets.agreement import task_disagreements
from datasets.parquet import load_columns
from datasets.table import RecordTable, table_from_columns
from datasets.tasks import load_tasks

FOLDER = Path(__file__).resolve().parents[2] / "datasets" / "published"
FILE = FOLDER / "cpu.parquet"
MAX_BYTES = 10 * 2**20
PAPER = {*(f"resnet18_c{number}" for number in range(1, 13)), *(f"mobilenet_d{n}" for n in range(1, 10))}
NUM_SAMPLED = 16
"""Candidates looked up per sampled task; ``scripts/records.py action=verify`` looks up all."""


@pytest.fixture(scope="module")
def columns() -> pa.Table:
    return load_columns(FILE)


@pytest.fixture(scope="module")
def table(columns: pa.Table) -> RecordTable:
    return table_from_columns(columns)


def test_it_is_as_large_as_promised_and_no_larger(columns: pa.Table, table: RecordTable) -> None:
    assert columns.num_rows >= 30_000
    assert len(table.tasks) >= 80
    assert FILE.stat().st_size <= MAX_BYTES


def test_every_record_says_how_it_was_measured(columns: pa.Table, table: RecordTable) -> None:
    assert {task.cache for task in table.tasks} == {"warm"}
    assert {task.target.fingerprint for task in table.tasks} == {"077fcfd296a73ce1"}
    assert pc.all(pc.greater(columns.column("reference_s"), 0)).as_py()
    assert columns.column("measured_at").null_count == columns.column("code_version").null_count == 0


def test_the_workloads_of_the_papers_are_there_under_their_names(table: RecordTable) -> None:
    programs = {name: task.program_hash for task in table.tasks for name in task.names}
    assert set(programs) >= PAPER
    for name in PAPER:
        assert programs[name] == WORKLOADS[name].program().hash


def test_every_program_is_still_the_one_that_was_measured(table: RecordTable) -> None:
    for task in table.tasks:
        assert make_operator(task.operator, task.parameters).program().hash == task.program_hash, task.name


def test_the_published_tasks_are_those_that_were_measured(table: RecordTable) -> None:
    listed = {
        make_operator(task.operator, task.parameters).program().hash
        for task in load_tasks(FOLDER / "tasks.yaml")
    }
    assert listed == {task.program_hash for task in table.tasks}


def test_sampled_candidates_are_still_in_their_spaces(table: RecordTable) -> None:
    first_of_operator = {task.operator: task for task in reversed(table.tasks)}
    rng = np.random.default_rng(0)
    for task in first_of_operator.values():
        rows = rng.choice(len(task), min(NUM_SAMPLED, len(task)), replace=False)
        assert list(task_disagreements(task.take(np.sort(rows)))) == []


def test_the_card_counts_what_the_file_holds(columns: pa.Table, table: RecordTable) -> None:
    card = (FOLDER / "README.md").read_text()
    for count in (columns.num_rows, table.num_candidates, sum(len(t.repeat_rows) for t in table.tasks)):
        assert f"{count:,}" in card
    for words in ("077fcfd296a73ce1", "Intel(R) Xeon(R) Processor", "warm", "6ca2514"):
        assert words in card
