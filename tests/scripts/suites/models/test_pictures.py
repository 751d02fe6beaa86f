"""The picture of the table of models shows how those differ that have learnt something."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from scripts.running.plotting import pyplot
from scripts.suites.models.pictures import REACH, draw_curves, draw_split, draw_table
from scripts.suites.models.row import Row


def row(model: str, accuracy: float, num_train: int = 100) -> Row:
    values: dict[str, Any] = dict.fromkeys((field.name for field in fields(Row)), 0.5)
    values |= {"split": "by_task", "model": model, "loss": "-", "num_train": num_train}
    interval = (accuracy, accuracy - 0.01, accuracy + 0.01)
    names = (f"{end}pairwise_accuracy" for end in ("", "low_", "high_"))
    return Row(**values | dict(zip(names, interval, strict=True)))


def drawn(rows: list[Row], ceiling: float | None = None) -> Any:
    _, panel = pyplot().subplots()
    draw_split(panel, rows, ceiling)
    return panel


def test_what_learns_nothing_does_not_stretch_the_axis_but_has_its_value() -> None:
    panel = drawn([row("good", 0.90), row("random", 0.5, num_train=0), row("better", 0.91)], ceiling=0.97)
    left, right = panel.get_xlim()
    assert 0.88 < left < 0.89
    assert 0.97 < right < 0.98
    assert [text.get_text() for text in panel.texts] == ["0.500"]
    assert [label.get_text() for label in panel.get_yticklabels()] == ["random", "good", "better"]
    arrow = next(line for line in panel.lines if line.get_marker() == "<")
    assert (arrow.get_xdata()[0], arrow.get_ydata()[0]) == (left, 0)


def test_one_that_has_learnt_badly_does_not_stretch_it_either() -> None:
    panel = drawn([row("good", 0.90), row("bad", 0.6)])
    assert panel.get_xlim()[0] == pytest.approx(0.90 - REACH, abs=0.01)
    assert [text.get_text() for text in panel.texts] == ["0.600"]


def test_without_a_model_that_learns_all_that_are_near_are_shown() -> None:
    panel = drawn([row("roofline", 0.7, num_train=0), row("other", 0.65, num_train=0)])
    assert panel.get_xlim()[0] < 0.64
    assert not panel.texts


def test_what_has_no_interval_is_a_point(tmp_path: Path) -> None:
    alone = replace(row("alone", 0.8), low_pairwise_accuracy=math.nan, high_pairwise_accuracy=math.nan)
    left, right = drawn([alone]).get_xlim()
    assert left < 0.8 < right
    draw_curves(tmp_path / "curves.png", [alone, replace(alone, num_train=10)], {})
    assert (tmp_path / "curves.png").exists()


def test_what_has_no_accuracy_is_left_out_of_the_picture(tmp_path: Path) -> None:
    rows = [row("good", 0.9), row("nothing", math.nan), replace(row("nothing", math.nan), split="folds")]
    draw_table(tmp_path / "some.png", rows, {})
    draw_table(tmp_path / "none.png", rows[1:], {})
    assert [path.name for path in tmp_path.iterdir()] == ["some.png"]
