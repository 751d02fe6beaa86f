"""Metrics against hand-made values, scipy, and enumeration."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import kendalltau

from costmodel.dataset import labels_of
from costmodel.metrics import (
    average,
    bootstrap_intervals,
    ceiling_metrics,
    pair_metrics,
    prefixed,
    task_metrics,
    top_k,
    trials_to,
)

LABELS = np.array([1.0, 0.5, 0.25, 0.0])

few_numbers = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=2, max_size=12)


def test_a_perfect_model_has_perfect_metrics() -> None:
    metrics = task_metrics(np.log(np.maximum(LABELS, 1e-3)), LABELS)
    expected = {"rmse": 0, "r2": 1, "pairwise_accuracy": 1, "kendall_tau": 1, "top1": 1, "top5": 1}
    for name, value in expected.items():
        assert metrics[name] == pytest.approx(value)
    assert metrics["regret1"] == metrics["regret5"] == 0


def test_the_reversed_order_has_no_right_pair() -> None:
    metrics = task_metrics(-LABELS, LABELS)
    assert metrics["pairwise_accuracy"] == 0
    assert metrics["kendall_tau"] == -1
    assert metrics["top1"] == 0
    assert metrics["regret1"] == 1 / LABELS[LABELS > 0].min() - 1


@given(pairs=few_numbers)
def test_kendall_tau_is_scipys(pairs: list[tuple[int, int]]) -> None:
    scores, labels = np.array(pairs, dtype=np.float64).T
    expected = kendalltau(scores, labels).statistic
    _, tau = pair_metrics(scores, labels)
    if len(set(labels)) > 1 and len(set(scores)) > 1:
        assert tau == pytest.approx(expected)


@given(pairs=few_numbers)
def test_pairwise_accuracy_counts_pairs_with_different_labels(pairs: list[tuple[int, int]]) -> None:
    scores, labels = np.array(pairs, dtype=np.float64).T
    points = []
    for i, j in itertools.combinations(range(len(pairs)), 2):
        if labels[i] != labels[j]:
            product = (labels[i] - labels[j]) * (scores[i] - scores[j])
            points.append(1.0 if product > 0 else 0.5 if product == 0 else 0.0)
    accuracy, _ = pair_metrics(scores, labels)
    assert math.isnan(accuracy) if not points else accuracy == pytest.approx(np.mean(points))


def test_blocks_of_pairs_add_up() -> None:
    rng = np.random.default_rng(0)
    scores, labels = rng.normal(size=1300), rng.normal(size=1300)
    assert pair_metrics(scores, labels)[1] == pytest.approx(kendalltau(scores, labels).statistic)


@given(
    pairs=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 9)), min_size=1, max_size=6),
    k=st.integers(1, 4),
)
def test_ties_in_top_k_give_the_mean_over_their_orders(pairs: list[tuple[int, int]], k: int) -> None:
    scores, labels = np.array(pairs, dtype=np.float64).T
    labels = labels / 9
    best = []
    for order in itertools.permutations(range(len(pairs))):
        ranked = sorted(order, key=lambda i: -scores[i])
        best.append(max(labels[ranked[:k]]))
    expected = np.mean(best)
    found = top_k(scores, labels, k)
    assert math.isnan(found) if labels.max() == 0 else found == pytest.approx(expected)


def test_failures_do_not_count_in_the_error_of_times() -> None:
    some = task_metrics(np.log(np.array([1.0, 0.5])), np.array([1.0, 0.5]))
    more = task_metrics(np.log(np.array([1.0, 0.5, 2.0])), np.array([1.0, 0.5, 0.0]))
    assert more["rmse"] == some["rmse"] == pytest.approx(0)
    assert more["r2"] == some["r2"] == pytest.approx(1)


@given(few_numbers, st.integers(1, 5))
def test_labels_of_zero_are_divided_by_nowhere(pairs: list[tuple[int, int]], num_failed: int) -> None:
    scores, labels = (np.array(column, dtype=float) for column in zip(*pairs, strict=True))
    labels[:2] = 0.5, 1.0
    failed = task_metrics(np.append(scores, [9.0] * num_failed), np.append(labels, [0.0] * num_failed))
    assert all(math.isfinite(value) for value in failed.values())
    without = labels > 0
    alone = task_metrics(scores[without], labels[without])
    assert (failed["rmse"], failed["r2"]) == pytest.approx((alone["rmse"], alone["r2"]))


@pytest.mark.parametrize("labels", [np.zeros(5), np.ones(5), np.zeros(0), np.array([1.0])])
def test_tasks_without_comparisons_give_nan_and_no_error(labels: np.ndarray) -> None:
    if len(labels):
        metrics = task_metrics(np.zeros(len(labels)), labels)
        assert math.isnan(metrics["pairwise_accuracy"])
    assert math.isnan(top_k(np.zeros(len(labels)), labels * 0, 1))


def test_picking_a_failure_costs_as_much_as_picking_the_slowest() -> None:
    metrics = task_metrics(np.array([3.0, 2.0, 1.0]), np.array([0.0, 0.25, 1.0]))
    assert (metrics["top1"], metrics["regret1"]) == (0, 3)
    assert math.isnan(task_metrics(np.array([1.0, 2.0]), np.zeros(2))["regret1"])


def test_averages_leave_out_what_a_task_does_not_have() -> None:
    mean = average([{"a": 1.0, "b": math.nan}, {"a": 3.0, "b": 5.0}, {"a": 5.0, "b": math.nan}])
    assert mean == {"a": 3.0, "b": 5.0}
    assert average([]) == {}


def test_tasks_of_one_group_are_drawn_together() -> None:
    values = np.random.default_rng(0).uniform(size=30)
    once = [{"a": value} for value in values]
    twice, groups = [*once, *once], [str(number) for number in range(30)] * 2
    alone, apart, together = (
        bootstrap_intervals(tasks, np.random.default_rng(1), keys)["a"]
        for tasks, keys in ((once, None), (twice, None), (twice, groups))
    )
    assert together == pytest.approx(alone)
    assert apart[1] - apart[0] < 0.85 * (together[1] - together[0])


def test_bootstrap_intervals_hold_the_mean_and_shrink_with_tasks() -> None:
    rng = np.random.default_rng(0)
    tasks = [{"a": float(value), "b": math.nan} for value in rng.normal(size=400)]
    low, high = bootstrap_intervals(tasks, rng)["a"]
    few_low, few_high = bootstrap_intervals(tasks[:20], rng)["a"]
    assert low < average(tasks)["a"] < high
    assert high - low < few_high - few_low
    assert all(math.isnan(end) for end in bootstrap_intervals(tasks, rng)["b"])


def test_the_ceiling_is_below_one_where_repeats_differ() -> None:
    latency_s = np.array([1.0, 1.5, 2.0, 3.0, math.nan])
    steady, shaky = np.array([[1.0, 1.0]]), np.array([[1.0, 1.9], [math.nan, 1.0]])
    exact = ceiling_metrics(latency_s, steady, np.random.default_rng(0))
    noisy = ceiling_metrics(latency_s, shaky, np.random.default_rng(0))
    assert exact is not None
    assert noisy is not None
    assert (exact["pairwise_accuracy"], exact["top1"], exact["rmse"]) == (1, 1, 0)
    assert 0.5 < noisy["pairwise_accuracy"] < 1
    assert ceiling_metrics(latency_s, shaky[1:], np.random.default_rng(0)) is None
    assert ceiling_metrics(latency_s[:1], steady, np.random.default_rng(0)) is None


@pytest.mark.parametrize("num_pairs", [1, 3, 40])
def test_the_ceiling_hardly_depends_on_how_many_were_measured_twice(num_pairs: int) -> None:
    rng = np.random.default_rng(0)
    times = np.exp(rng.normal(0, 0.1, (40, 60)))

    def measured(shape: tuple[int, ...]) -> NDArray[np.float64]:
        return np.exp(rng.normal(0, 0.02, shape))

    agreement = [
        task_metrics(-np.log(each * measured((60,))), labels_of(each * measured((60,)))) for each in times
    ]
    ceilings = [ceiling_metrics(each * measured((60,)), measured((num_pairs, 2)), rng) for each in times]
    found = average([ceiling for ceiling in ceilings if ceiling is not None])["pairwise_accuracy"]
    assert found == pytest.approx(average(agreement)["pairwise_accuracy"], abs=0.02)


def test_one_group_has_no_interval() -> None:
    ends = bootstrap_intervals([{"a": 0.5}, {"a": 0.7}], np.random.default_rng(0), ["same", "same"])["a"]
    assert all(math.isnan(end) for end in ends)
    rare = [{"a": 0.5}, {"a": math.nan}, {"a": math.nan}]
    assert all(math.isnan(end) for end in bootstrap_intervals(rare, np.random.default_rng(0))["a"])


def test_further_chance_widens_an_interval() -> None:
    tasks = [{"a": value} for value in np.linspace(0, 1, 30)]
    plain = bootstrap_intervals(tasks, np.random.default_rng(0))["a"]
    wide = bootstrap_intervals(
        tasks, np.random.default_rng(0), further=lambda _, size: np.random.default_rng(1).normal(0, 1, size)
    )["a"]
    assert np.diff(wide) > 5 * np.diff(plain)


def test_shapes_that_differ_and_scores_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        task_metrics(np.zeros(3), np.zeros(4))
    with pytest.raises(ValueError, match="finite"):
        task_metrics(np.array([np.nan, 1.0]), np.ones(2))


def test_prefixes_keep_tables_flat() -> None:
    assert prefixed({"top1": 0.5}, "random") == {"random_top1": 0.5}


@given(pairs=few_numbers)
def test_the_trials_to_a_good_candidate_are_the_mean_over_the_orders_of_ties(
    pairs: list[tuple[int, int]],
) -> None:
    scores, labels = np.array(pairs[:6], dtype=np.float64).T
    if labels.max() == 0:
        assert math.isnan(trials_to(scores, labels, 0.7))
        return
    places = []
    for order in itertools.permutations(range(len(scores))):
        ranked = sorted(order, key=lambda i: -scores[i])
        places.append(next(n for n, i in enumerate(ranked, 1) if labels[i] >= 0.7 * labels.max()))
    assert trials_to(scores, labels, 0.7) == pytest.approx(np.mean(places))
