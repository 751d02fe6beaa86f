"""The rows of the comparison: means over seeds, and intervals for the chance of tasks and of training."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from scripts.suites.models.report import markdown, sentences
from scripts.suites.models.row import Row, at_largest
from scripts.suites.models.statistics import rows_of
from scripts.suites.models.trainings import Cell


def cell(model: str, seed: int = 0, accuracy: float = 0.8, size: int = 0) -> Cell:
    names = {"pairwise_accuracy": accuracy, "top1": 0.5, "top5": 0.9, "kendall_tau": 0.6, "trials95": 4.0}
    tasks = {"first": names, "second": {**names, "pairwise_accuracy": accuracy - 0.2}}
    groups = {name: name for name in tasks}
    efforts = (1.0 + seed, 2.0 + seed, 50.0, 25.0)
    ceiling = {"top1": 0.99}
    return Cell("by_task", model, "-", seed, size, size or 100, *efforts, 7, tasks, groups, ceiling)


def test_a_row_is_the_mean_of_seeds_and_an_interval_over_tasks() -> None:
    rows = rows_of([cell("a", 0, 0.7), cell("a", 1, 0.7), cell("b", 0, 0.5)], "b", seed=0)
    assert [(row.model, row.num_seeds, row.num_tasks) for row in rows] == [("a", 2, 2), ("b", 1, 2)]
    assert rows[0].pairwise_accuracy == pytest.approx(0.6)
    assert (rows[0].low_pairwise_accuracy, rows[0].high_pairwise_accuracy) == pytest.approx((0.5, 0.7))
    row = rows[0]
    ahead = (row.ahead_pairwise_accuracy, row.low_ahead_pairwise_accuracy, row.high_ahead_pairwise_accuracy)
    assert ahead == pytest.approx((0.2, 0.2, 0.2))
    assert (row.train_s, row.train_cpu_s) == (1.5, 2.5)
    assert rows[1].ahead_top1 == 0
    lines = markdown(rows, {"by_task": {"top1": 0.99}}, "b").splitlines()
    assert lines[0] == "## by_task, 2 tasks"
    assert lines[4].startswith("| a | - | 2 | 0.600 (0.500 to 0.700) | 0.500 (0.500 to 0.500) |")
    assert lines[4].endswith("| 100 | 2.5 | 25 | 7 |")
    assert lines[6].startswith("| noise ceiling |  |  |  | 0.990 |")
    differences = lines[lines.index("### by_task: ahead of b, task by task") :]
    assert [line.split(" | ")[0] for line in differences if " | - | " in line] == ["| a"]
    assert "+0.200 (+0.200 to +0.200)" in differences[4]


def test_a_model_is_compared_with_the_reference_learnt_from_as_much() -> None:
    cells = [cell("a", size=10), cell("b", accuracy=0.7, size=10), cell("b", accuracy=0.9, size=20)]
    rows = rows_of(cells, "b", seed=0)
    assert rows[0].ahead_pairwise_accuracy == pytest.approx(0.1)
    assert rows_of(cells, "c", seed=0)[0].ahead_pairwise_accuracy != 0  # NaN: there is no reference
    assert [(row.model, row.num_train) for row in at_largest(rows)] == [("a", 10), ("b", 20)]
    text = markdown(rows, {}, "b")
    assert "### by_task: learning curves" in text
    assert text.count("| b | - |") == 3  # at most candidates, and the two sizes of its curve


def test_losses_of_the_reference_are_compared_with_its_first() -> None:
    cells = [
        replace(cell("a", accuracy=accuracy), loss=loss) for loss, accuracy in (("one", 0.8), ("two", 0.7))
    ]
    text = markdown(rows_of(cells, "a", seed=0), {}, "a")
    differences = text.split("### by_task: ahead of a, one, task by task")[1].splitlines()
    assert [line[:9] for line in differences if line.startswith("| a |")] == ["| a | two"]
    assert "-0.100 (-0.100 to -0.100)" in differences[4]


def ahead(row: Row) -> tuple[float, float]:
    return row.low_ahead_pairwise_accuracy, row.high_ahead_pairwise_accuracy


def trained(model: str, accuracies: list[float], tasks: int, rng: np.random.Generator) -> list[Cell]:
    """A cell per seed; tasks are as hard for all models, but for a little in what a training gets."""
    cells = []
    for seed, accuracy in enumerate(accuracies):
        known = cell(model, seed).tasks["first"]
        values = accuracy + 0.1 * np.sin(np.arange(tasks)) + rng.normal(0, 0.01, tasks)
        judged = {f"task_{n}": {**known, "pairwise_accuracy": float(value)} for n, value in enumerate(values)}
        groups = {name: name for name in judged}
        cells.append(replace(cell(model, seed), loss="pairwise", tasks=judged, groups=groups))
    return cells


@pytest.mark.parametrize(("num_seeds", "least", "most"), [(3, 0.88, 1.0), (1, 0.0, 0.6)])
def test_equal_models_differ_beyond_their_interval_by_chance_alone(
    num_seeds: int, least: float, most: float
) -> None:
    rng = np.random.default_rng(0)
    held = []
    for _ in range(60):
        # Of several seeds each is known, of one nothing: then intervals are of tasks alone, and too narrow.
        draws = rng.normal(0.8, 0.01, (2, num_seeds)).tolist()
        cells = [*trained("a", draws[0], 40, rng), *trained("b", draws[1], 40, rng)]
        low, high = ahead(rows_of(cells, "b", seed=0)[0])
        held.append(low <= 0 <= high)
    assert least <= np.mean(held) <= most


def test_one_seed_takes_its_chance_from_others_of_its_kind_and_says_so_if_there_is_none() -> None:
    rng = np.random.default_rng(0)
    once = [*trained("a", [0.8], 40, rng), *trained("b", [0.78], 40, rng)]
    thrice = trained("c", [0.79, 0.8, 0.81], 40, rng)
    alone, beside = rows_of(once, "b", seed=0)[0], rows_of([*once, *thrice], "b", seed=0)[0]
    assert alone.seed_deviation is None
    assert beside.seed_deviation == pytest.approx(0.01, rel=0.3)
    assert np.diff(ahead(beside)) > 3 * np.diff(ahead(alone))
    trees = replace(cell("trees"), loss="-")
    assert rows_of([trees, *thrice], "trees", seed=0)[0].seed_deviation is None
    said = " ".join(sentences(rows_of([trees, *thrice], "trees", seed=0)))
    assert "The intervals of boosted trees leave out the chance of training" in said
    assert f"standard deviation of {beside.seed_deviation:.4f} (networks)" in said


def test_ensembles_owe_less_to_their_training_than_networks() -> None:
    rng = np.random.default_rng(0)
    ensembles = [replace(each, coverage=0.9) for each in trained("e", [0.8, 0.801, 0.799], 40, rng)]
    rows = rows_of([*ensembles, *trained("a", [0.78, 0.8, 0.82], 40, rng)], "a", seed=0)
    assert rows[0].seed_deviation is not None
    assert rows[1].seed_deviation == pytest.approx(0.02, rel=0.3)
    assert rows[0].seed_deviation < 0.01
    assert "(ensembles), 0.0" in " ".join(sentences(rows))


def test_seeds_are_compared_on_the_tasks_that_all_of_them_have() -> None:
    rng = np.random.default_rng(0)
    first, second = trained("a", [0.8, 0.8], 40, rng)
    easy = [task for task, known in first.tasks.items() if known["pairwise_accuracy"] > 0.85]
    part = replace(second, tasks={task: second.tasks[task] for task in easy})
    deviation = rows_of([first, part], "a", seed=0)[0].seed_deviation
    assert deviation is not None
    assert deviation < 0.01


def test_what_learns_nothing_owes_nothing_to_its_seed() -> None:
    rng = np.random.default_rng(0)
    nothing = replace(cell("roofline"), num_train=0)
    rows = rows_of([nothing, *trained("a", [0.7, 0.9], 40, rng)], "a", seed=0)
    assert rows[0].seed_deviation is None
    assert (rows[0].low_top1, rows[0].high_top1) == (0.5, 0.5)


def test_no_interval_leads_where_a_metric_cannot_be() -> None:
    rng = np.random.default_rng(0)
    row = rows_of(trained("a", [0.7, 0.9], 40, rng), "a", seed=0)[0]
    assert (row.low_pairwise_accuracy, row.high_pairwise_accuracy) == (0, 1)


def test_tasks_of_one_program_give_no_interval() -> None:
    alone = replace(cell("a"), groups={"first": "same", "second": "same"})
    row = rows_of([alone], "a", seed=0)[0]
    assert row.pairwise_accuracy == pytest.approx(0.7)
    assert math.isnan(row.low_pairwise_accuracy)
    assert "| a | - | 1 | 0.700 | 0.500 |" in markdown([row], {}, "a")
