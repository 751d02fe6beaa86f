"""What spaces leave out as hopeless was far from the best of its task wherever it was measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from codegen.ops import make_operator
from codegen.schedule import build_space
from costmodel.dataset import candidates_of
from datasets.parquet import load_columns
from datasets.table import TaskTable, table_from_columns

FILE = Path(__file__).resolve().parents[2] / "datasets" / "published" / "cpu.parquet"


@pytest.fixture(scope="module")
def judged() -> list[tuple[TaskTable, NDArray[np.bool_]]]:
    """Every published task, and which of its candidates are hopeless."""
    found = []
    for task in table_from_columns(load_columns(FILE)).tasks:
        space = build_space(
            make_operator(task.operator, task.parameters).program(), task.target, winograd=False
        )
        found.append((task, space.is_hopeless(candidates_of(task, space))))
    return found


def test_no_hopeless_candidate_came_near_the_best(judged: list[tuple[TaskTable, NDArray[np.bool_]]]) -> None:
    best = [task.labels[hopeless].max() for task, hopeless in judged if hopeless.any()]
    assert len(best) > 150
    assert max(best) < 0.8
    assert np.quantile(best, 0.95) < 0.7
    assert np.median(best) < 0.6


def test_much_of_what_was_measured_was_hopeless(judged: list[tuple[TaskTable, NDArray[np.bool_]]]) -> None:
    num_candidates = sum(len(task) for task, _ in judged)
    assert sum(hopeless.sum() for _, hopeless in judged) > 0.4 * num_candidates
