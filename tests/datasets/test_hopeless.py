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
        program = make_operator(task.operator, task.parameters).program()
        has_winograd = any(name.startswith("winograd") for name in task.sketch_names)
        space = build_space(program, task.target, winograd=has_winograd)
        found.append((task, space.is_hopeless(candidates_of(task, space))))
    return found


def test_no_hopeless_candidate_came_near_the_best(judged: list[tuple[TaskTable, NDArray[np.bool_]]]) -> None:
    best = [task.labels[hopeless].max() for task, hopeless in judged if hopeless.any()]
    assert len(best) > 150
    assert max(best) < 0.8
    assert np.quantile(best, 0.95) < 0.7
    assert np.median(best) < 0.6


def test_much_of_what_was_measured_before_was_hopeless(
    judged: list[tuple[TaskTable, NDArray[np.bool_]]],
) -> None:
    shares = []
    for target in {task.target.fingerprint for task, _ in judged}:
        mine = [hopeless for task, hopeless in judged if task.target.fingerprint == target]
        shares.append(np.concatenate(mine).mean())
    assert max(shares) > 0.4  # on the target that was measured before such candidates were left out
