"""Operators of drawn shapes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from codegen.ops import make_operator
from datasets.drawing import FEWEST_FLOPS, MOST_FLOPS, draw_tasks
from datasets.tasks import load_tasks

SHIPPED = Path(__file__).resolve().parents[2] / "datasets" / "published" / "tasks.yaml"


def test_the_shipped_ones_are_drawn_again() -> None:
    shipped = [task for task in load_tasks(SHIPPED) if task.name.startswith("drawn_")]
    assert draw_tasks(223, np.random.default_rng(20261126)) == shipped


def test_all_are_different_and_within_bounds() -> None:
    tasks = draw_tasks(60, np.random.default_rng(1))
    operators = [make_operator(task.operator, task.parameters) for task in tasks]
    assert len({task.name for task in tasks}) == len({each.program().hash for each in operators}) == 60
    multiplying = [each.flops for each in operators if each.operator_name in ("conv2d", "matmul")]
    assert all(FEWEST_FLOPS < flops < MOST_FLOPS for flops in multiplying)
    assert Counter(task.operator for task in tasks).most_common(1)[0][0] == "conv2d"


@pytest.mark.parametrize("num", [1, 7, 40])
def test_as_many_as_asked_for(num: int) -> None:
    assert len(draw_tasks(num, np.random.default_rng(0))) == num


def test_none_is_refused() -> None:
    with pytest.raises(ValueError, match="operators to draw must be positive, got 0"):
        draw_tasks(0, np.random.default_rng(0))
