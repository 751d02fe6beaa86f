"""The data set that comes with the project is what its card says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from codegen.ops import WORKLOADS, make_operator
from datasets.agreement import task_disagreements
from datasets.card import BEGIN, END, card_tables, tables_text
from datasets.parquet import load_columns
from datasets.table import RecordTable, table_from_columns
from datasets.tasks import load_tasks

FOLDER = Path(__file__).resolve().parents[2] / "datasets" / "published"
FILE = FOLDER / "cpu.parquet"
CARD = FOLDER / "README.md"
MAX_BYTES = 15 * 2**20
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
    assert columns.num_rows >= 60_000
    assert len({task.program_hash for task in table.tasks}) >= 200
    assert FILE.stat().st_size <= MAX_BYTES


def test_every_record_says_how_it_was_measured(columns: pa.Table, table: RecordTable) -> None:
    assert {task.cache for task in table.tasks} == {"warm"}
    listed = [cell.strip("`") for cell in card_rows()["fingerprint"]]
    assert [*dict.fromkeys(task.target.fingerprint for task in table.tasks)] == listed
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


def test_no_program_of_one_target_is_counted_twice(table: RecordTable) -> None:
    assert len({(task.program_hash, task.target.fingerprint) for task in table.tasks}) == len(table.tasks)


def test_the_card_counts_tasks_and_trials_of_every_target(columns: pa.Table, table: RecordTable) -> None:
    rows = card_rows()
    counts = [[int(cell.replace(",", "")) for cell in rows[name]] for name in ("tasks", "trials")]
    assert [sum(each) for each in counts] == [len(table.tasks), columns.num_rows]


def test_sampled_candidates_are_still_in_their_spaces(table: RecordTable) -> None:
    first_of_kind = {(task.operator, task.target.fingerprint): task for task in reversed(table.tasks)}
    rng = np.random.default_rng(0)
    for task in first_of_kind.values():
        rows = rng.choice(len(task), min(NUM_SAMPLED, len(task)), replace=False)
        assert list(task_disagreements(task.take(np.sort(rows)))) == []


def test_the_tables_of_the_card_are_those_of_the_file(columns: pa.Table, table: RecordTable) -> None:
    _, _, rest = CARD.read_text().partition(BEGIN)
    shown, _, _ = rest.partition(END)
    expected = tables_text(card_tables(columns, table))
    assert shown.strip() == expected.strip(), f"run scripts/describe.py data.path={FILE} card={CARD}"


def card_rows() -> dict[str, list[str]]:
    """The first table of the card: what, and its value for each target."""
    _, _, rest = CARD.read_text().partition(BEGIN)
    lines = [line.strip("| ").split(" | ") for line in rest.partition(END)[0].splitlines() if "|" in line]
    return {cells[0]: cells[1:] for cells in reversed(lines)}
