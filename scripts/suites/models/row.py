"""One line of the comparison of models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

METRICS = ("pairwise_accuracy", "top1", "top5", "kendall_tau", "trials95")


@dataclass(frozen=True)
class Row:
    """One model with one loss on one split, the mean of its seeds; intervals (95 %) as in ``statistics``.

    ``trials95``: candidates measured in the order of its scores until one comes to 95 % of the best known.
    ``ahead_<metric>``: its metric minus that of the reference on the same tasks. NaN where unknown.
    ``num_train``: candidates that it learnt from, 0 for a model that learns nothing.
    ``train_s`` and ``candidates_per_s`` are by the clock, ``train_cpu_s`` and ``candidates_per_cpu_s`` count
    the time of processors, all threads together. ``coverage``: share of times within the model's intervals,
    None for a model that gives none. ``seed_deviation``: the standard deviation of pairwise accuracy between
    trainings of its kind, which the intervals allow for; None if none has two seeds: then they do not.
    """

    split: str
    model: str
    loss: str
    num_train: int
    num_seeds: int
    num_tasks: int
    pairwise_accuracy: float
    low_pairwise_accuracy: float
    high_pairwise_accuracy: float
    top1: float
    low_top1: float
    high_top1: float
    top5: float
    low_top5: float
    high_top5: float
    kendall_tau: float
    low_kendall_tau: float
    high_kendall_tau: float
    trials95: float
    low_trials95: float
    high_trials95: float
    ahead_pairwise_accuracy: float
    low_ahead_pairwise_accuracy: float
    high_ahead_pairwise_accuracy: float
    ahead_top1: float
    low_ahead_top1: float
    high_ahead_top1: float
    ahead_top5: float
    low_ahead_top5: float
    high_ahead_top5: float
    ahead_kendall_tau: float
    low_ahead_kendall_tau: float
    high_ahead_kendall_tau: float
    ahead_trials95: float
    low_ahead_trials95: float
    high_ahead_trials95: float
    train_s: float
    train_cpu_s: float
    candidates_per_s: float
    candidates_per_cpu_s: float
    num_parameters: int
    coverage: float | None
    seed_deviation: float | None

    @property
    def kind(self) -> str:
        """As ``kind_of``."""
        return kind_of(self.loss, self.coverage)

    @property
    def label(self) -> str:
        """Model and loss."""
        return self.model if self.loss == "-" else f"{self.model}, {self.loss}"


def kind_of(loss: str, coverage: float | None) -> str:
    """Of a model that learns: those of a kind owe about as much to the chance of their training."""
    if loss == "-":
        return "boosted trees"
    return "networks" if coverage is None else "ensembles"


def at_largest(rows: Sequence[Row]) -> list[Row]:
    """The row of each split, model and loss that learnt from most."""
    kept = {(row.split, row.label): row for row in sorted(rows, key=lambda row: row.num_train)}
    return list(kept.values())


def learning_curves(rows: Sequence[Row]) -> dict[tuple[str, str], list[Row]]:
    """By split and label, the rows of what learnt from several numbers of candidates, in their order."""
    curves: dict[tuple[str, str], list[Row]] = {}
    for row in sorted(rows, key=lambda row: row.num_train):
        curves.setdefault((row.split, row.label), []).append(row)
    return {key: points for key, points in curves.items() if len(points) > 1}
