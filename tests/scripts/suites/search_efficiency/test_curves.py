"""The search-efficiency comparison counts trials as the papers do, and its files say the same."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from scripts.options.figures import ComparisonConfig
from scripts.suites.search_efficiency.curves import (
    Comparison,
    comparison_metrics,
    curves_of,
    draw_curves,
    write_curves,
)

RANDOM = curves_of([[8.0, 4.0, 4.0, 2.0], [None, 6.0, 3.0, 3.0], [9.0, 9.0, 4.0, 4.0]], 4)
GUIDED = curves_of([[5.0, 3.0], [3.0, 2.0], [None, None]], 2)


def test_the_guided_search_is_timed_against_the_median_end_of_random_search() -> None:
    comparison = Comparison("task", RANDOM, GUIDED)
    assert comparison.threshold_s == 3.0
    assert comparison.guided_trials == 2
    assert comparison_metrics([comparison])["task_trials_to_random_best"] == 2


def test_a_search_that_never_gets_there_counts_one_more_than_its_budget() -> None:
    hopeless = Comparison("task", RANDOM, np.full((3, 2), 50.0))
    assert hopeless.guided_trials is None
    metrics = comparison_metrics([hopeless])
    assert metrics["task_trials_to_random_best"] == 3
    assert metrics["task_speedup_over_random"] == pytest.approx(3.0 / 50.0)


def test_what_was_never_found_has_no_metric() -> None:
    nothing = np.full((3, 2), np.nan)
    metrics = comparison_metrics(
        [Comparison("neither", nothing, nothing), Comparison("half", RANDOM, nothing)]
    )
    assert metrics == {
        "num_workloads": 2,
        "half_trials_to_random_best": 3,
        "median_trials_to_random_best": 3.0,
        "random_trials": 2,
    }
    assert "median_trials_to_random_best" not in comparison_metrics([Comparison("x", nothing, nothing)])


def test_curves_and_plot_are_written(tmp_path: Path) -> None:
    comparison = Comparison("task", RANDOM, GUIDED)
    write_curves(tmp_path / "curves.csv", [comparison])
    draw_curves(tmp_path / "curves.png", [comparison], lambda _: 10**9)
    with (tmp_path / "curves.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * 4 + 3 * 2
    assert [row["best_latency_s"] for row in rows if row["method"] == "random" and row["seed"] == "1"] == [
        "",
        "6.0",
        "3.0",
        "3.0",
    ]
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("wrong", [{"workloads": ["resnet18_c99"]}, {"workloads": []}, {"num_seeds": 0}])
def test_an_impossible_comparison_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="must be"):
        ComparisonConfig(**wrong)  # type: ignore[arg-type]
