"""A run of the figure is compared with the stored one in shares of the best, within its tolerance."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from codegen.ops import WORKLOADS
from scripts.suites.search_efficiency.curves import Comparison, curves_of
from scripts.suites.search_efficiency.stored_figure import agreement, curve_points, read_points, write_points

ROOT = Path(__file__).resolve().parents[4]
RANDOM = curves_of([[8.0, 4.0, 4.0], [None, 6.0, 4.0], [9.0, 8.0, 4.0]], 3)
GUIDED = curves_of([[5.0, 3.0], [4.0, 2.0], [4.0, 2.0]], 2)
POINTS = curve_points([Comparison("task", RANDOM, GUIDED)])


def test_speeds_are_shares_of_the_best_that_either_method_came_to() -> None:
    speeds = {(point.method, point.trial): point.relative_speed for point in POINTS}
    assert speeds == {
        ("random", 1): pytest.approx(2 / 9, abs=1e-3),
        ("random", 2): pytest.approx(2 / 6, abs=1e-3),
        ("random", 3): 0.5,
        ("annealer", 1): 0.5,
        ("annealer", 2): 1.0,
    }
    assert {(p.method, p.trial): p.tolerance for p in POINTS}["random", 1] == pytest.approx(0.125)


def test_a_machine_of_another_speed_agrees() -> None:
    slower = curve_points([Comparison("task", 3 * RANDOM, 3 * GUIDED)])
    assert agreement(slower, POINTS).metrics() == {
        "num_compared": 5,
        "num_different": 0,
        "within_tolerance": 1,
    }


def test_a_curve_that_is_lower_differs_and_is_named() -> None:
    found = agreement(curve_points([Comparison("task", RANDOM, GUIDED[:, [0, 0]])]), POINTS)
    assert found.metrics()["within_tolerance"] == 0
    assert any("task, random, after 3 trials: 1.00 of the best, stored 0.50" in d for d in found.differences)


def test_other_workloads_and_other_budgets_are_not_compared() -> None:
    longer = Comparison("task", RANDOM, curves_of([[5.0, 3.0, 1.0]], 3))
    for comparison in (Comparison("other", RANDOM, GUIDED), longer):
        assert agreement(curve_points([comparison]), POINTS).metrics() == {
            "num_compared": 0,
            "num_different": 0,
        }


def test_nothing_found_yet_is_no_speed() -> None:
    nothing = np.full((3, 2), np.nan)
    assert {p.relative_speed for p in curve_points([Comparison("task", nothing, nothing)])} == {0.0}


def test_points_come_back_from_their_file(tmp_path: Path) -> None:
    write_points(tmp_path / "points.csv", POINTS)
    assert read_points(tmp_path / "points.csv") == POINTS


def test_a_file_of_something_else_is_named(tmp_path: Path) -> None:
    (tmp_path / "points.csv").write_text("workload,trial\nresnet18_c2,1\n")
    with pytest.raises(ValueError, match=r"points\.csv, line 2: not a point"):
        read_points(tmp_path / "points.csv")


def test_the_stored_result_is_of_known_workloads_and_agrees_with_itself() -> None:
    stored = read_points(ROOT / "docs/results/search_efficiency/points.csv")
    assert {point.workload for point in stored} <= set(WORKLOADS)
    assert agreement(stored, stored).metrics()["within_tolerance"] == 1
    slow = [dataclasses.replace(point, relative_speed=0.0) for point in stored]
    assert agreement(slow, stored).metrics()["within_tolerance"] == 0
