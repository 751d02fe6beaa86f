"""The GPU records that come with the project are what their card says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from codegen.gpu_target import GpuTarget
from codegen.ops import make_operator
from costmodel.dataset import dataset_of
from datasets.agreement import find_disagreements
from datasets.card import BEGIN, END, card_tables, tables_text
from datasets.parquet import load_columns
from datasets.table import RecordTable, table_from_columns
from datasets.tasks import load_tasks

FOLDER = Path(__file__).resolve().parents[2] / "datasets" / "published" / "gpu"
FILE = FOLDER / "nvidia_h200.parquet"
CARD = FOLDER / "README.md"


@pytest.fixture(scope="module")
def columns() -> pa.Table:
    return load_columns(FILE)


@pytest.fixture(scope="module")
def table(columns: pa.Table) -> RecordTable:
    return table_from_columns(columns)


def test_all_records_are_of_one_gpu_with_flushed_caches(table: RecordTable) -> None:
    [target] = {task.target for task in table.tasks}
    assert isinstance(target, GpuTarget)
    assert (target.device, target.precision.storage) == ("h200", "float16")
    assert {task.cache for task in table.tasks} == {"flushed"}


def test_the_listed_tasks_are_those_that_were_measured(table: RecordTable) -> None:
    tasks = load_tasks(FOLDER / "tasks.yaml")
    listed = {make_operator(task.operator, task.parameters).program().hash for task in tasks}
    assert listed == {task.program_hash for task in table.tasks}
    assert len(listed) == len(table.tasks)


def test_every_candidate_is_still_in_its_space(table: RecordTable) -> None:
    assert find_disagreements(table) == []


def test_the_tables_of_the_card_are_those_of_the_file(columns: pa.Table, table: RecordTable) -> None:
    _, _, rest = CARD.read_text().partition(BEGIN)
    shown, _, _ = rest.partition(END)
    expected = tables_text(card_tables(columns, table))
    assert shown.strip() == expected.strip(), "run scripts/describe.py data=gpu card=<the card>"


def test_how_a_kernel_is_launched_shows_in_its_features(table: RecordTable) -> None:
    """Candidates that differ in warps or stages alone, which the loop AST does not say, differ."""
    some = RecordTable(table.tasks[::10])
    for task, features in zip(some.tasks, dataset_of(some).tasks, strict=True):
        nodes = [group.nodes.reshape(len(group), -1) for group in features.trees.groups]
        programs = [group.programs for group in features.trees.groups]
        for group, values in zip(features.trees.groups, map(np.hstack, zip(nodes, programs)), strict=True):
            keys = {str(task.named(row)) for row in group.rows}
            assert len(np.unique(values, axis=0)) == len(keys), task.name
