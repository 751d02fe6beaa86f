"""How well scores rank measured candidates, per task and averaged over tasks.

Labels are best time / time in (0, 1], failures 0. A score is read as the logarithm of speed up to a
constant per task, so the predicted label is ``exp(score - best score)``. Metrics that a task cannot have
(no two different labels, say) are NaN there and left out of averages.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from costmodel.dataset import labels_of

FloatArray = NDArray[np.float64]
TaskMetrics = dict[str, float]

TOP = (1, 5)


def task_metrics(scores: ArrayLike, labels: ArrayLike) -> TaskMetrics:
    """All metrics of one task; both arguments have shape (N,).

    Keys: rmse, r2, pairwise_accuracy, kendall_tau, top1, top5, regret1, regret5, trials95.
    """
    s, y = np.asarray(scores, dtype=np.float64), np.asarray(labels, dtype=np.float64)
    if s.shape != y.shape or s.ndim != 1:
        raise ValueError(f"scores and labels must have one shape (N,), got {s.shape} and {y.shape}")
    if not np.isfinite(s).all():
        raise ValueError("scores must be finite")
    agreement, tau = pair_metrics(s, y)
    result = {
        "rmse": rmse(s, y),
        "r2": r2(s, y),
        "pairwise_accuracy": agreement,
        "kendall_tau": tau,
    }
    result |= {f"top{k}": top_k(s, y, k) for k in TOP}
    result |= {f"regret{k}": regret(s, y, k) for k in TOP}
    result["trials95"] = trials_to(s, y, 0.95)
    return result


def pair_metrics(scores: FloatArray, labels: FloatArray) -> tuple[float, float]:
    """Share of pairs with different labels in the right order (a tie counts half), and Kendall's tau-b."""
    # Blocks of rows keep the pairs of a task of thousands of candidates from filling the memory.
    agree = disagree = num_pairs = untied_scores = 0
    for start in range(0, len(scores), 512):
        rows = slice(start, start + 512)
        later = np.arange(len(scores))[None, :] > np.arange(len(scores))[rows, None]
        order = np.sign(labels[rows, None] - labels[None, :]) * later
        guess = np.sign(scores[rows, None] - scores[None, :]) * later
        agree += int(np.sum(order * guess > 0))
        disagree += int(np.sum(order * guess < 0))
        num_pairs += int(np.sum(order != 0))
        untied_scores += int(np.sum(guess != 0))
    if not num_pairs:
        return float("nan"), float("nan")
    tied = num_pairs - agree - disagree
    scale = np.sqrt(float(num_pairs) * untied_scores)
    tau = (agree - disagree) / scale if scale else 0.0
    return (agree + 0.5 * tied) / num_pairs, float(tau)


def rmse(scores: FloatArray, labels: FloatArray) -> float:
    """Error of the predicted label over candidates that did not fail."""
    succeeded = labels > 0
    if not succeeded.any():
        return float("nan")
    return float(np.sqrt(np.mean((predicted_labels(scores[succeeded]) - labels[succeeded]) ** 2)))


def r2(scores: FloatArray, labels: FloatArray) -> float:
    """Share of the labels' variance that the predicted label explains; NaN without variance."""
    succeeded = labels > 0
    spread = np.sum((labels[succeeded] - labels[succeeded].mean()) ** 2) if succeeded.any() else 0.0
    if spread == 0:
        return float("nan")
    error = np.sum((predicted_labels(scores[succeeded]) - labels[succeeded]) ** 2)
    return float(1 - error / spread)


def predicted_labels(scores: FloatArray) -> FloatArray:
    """Best predicted time / predicted time, in [0, 1]."""
    return np.asarray(np.exp(scores - scores.max()))


def top_k(scores: FloatArray, labels: FloatArray, k: int) -> float:
    """The best label among the k candidates scored highest.

    Candidates with equal scores stand in a random order: the expectation over it, so that a constant
    model gets what chance gets, not what the order of the records gives.
    """
    if not len(scores) or labels.max() <= 0:
        return float("nan")
    k = min(k, len(scores))
    limit = np.sort(scores)[-k]
    certain, tied = labels[scores > limit], np.sort(labels[scores == limit])
    best = float(certain.max()) if len(certain) else 0.0
    draws = k - len(certain)
    return float(np.sum(chance_of_best(len(tied), draws) * np.maximum(tied, best)))


def chance_of_best(num: int, draws: int) -> FloatArray:
    """Chance that the i-th smallest of ``num`` is the greatest of ``draws`` drawn without replacement."""
    # The greatest is among the first i with chance C(i, draws) / C(num, draws).
    below = np.ones(num + 1)
    for d in range(draws):
        below *= np.clip(np.arange(num + 1) - d, 0, None) / (num - d)
    return np.diff(below)


def regret(scores: FloatArray, labels: FloatArray, k: int) -> float:
    """Time lost by running only the first k: 1 / top-k - 1, with the top-k label of ``top_k``.

    Picks that all fail count as the slowest candidate that did not; NaN where all candidates failed.
    """
    if not labels.size or labels.max() <= 0:
        return float("nan")
    slowest = float(np.min(labels, where=labels > 0, initial=1.0))
    return 1 / max(top_k(scores, labels, k), slowest) - 1


def trials_to(scores: FloatArray, labels: FloatArray, share: float) -> float:
    """Candidates to be measured, the highest score first, until one reaches a share of the best label.

    The expectation over the order of equal scores; NaN where all candidates failed.
    """
    if not labels.size or labels.max() <= 0:
        return float("nan")
    is_good = labels >= share * labels.max()
    limit = scores[is_good].max()
    num_before, is_tied = int(np.sum(scores > limit)), scores == limit
    return num_before + (int(is_tied.sum()) + 1) / (int(np.sum(is_good & is_tied)) + 1)


def average(tasks: Sequence[TaskMetrics]) -> TaskMetrics:
    """Mean of every metric over the tasks that have it; NaN if none has."""
    return {name: _mean([task[name] for task in tasks]) for name in (tasks[0] if tasks else ())}


def bootstrap_intervals(
    tasks: Sequence[TaskMetrics],
    rng: np.random.Generator,
    groups: Sequence[str] | None = None,
    num_samples: int = 10_000,
    level: float = 0.95,
    further: Callable[[str, int], FloatArray] | None = None,
) -> dict[str, tuple[float, float]]:
    """Interval of each average when the tasks are drawn anew, with replacement; NaN where one group has it.

    Tasks of one group are drawn together: one program on two targets is hardly more evidence than on one.
    Without ``groups`` each task is one. ``further`` gives, for a metric, so many draws of what else the
    average owes to chance, which are added.
    """
    if not tasks:
        return {}
    numbers = {group: number for number, group in enumerate(dict.fromkeys(groups or ()))}
    owners = np.array([numbers[group] for group in groups] if groups else range(len(tasks)))
    num_groups = len(numbers) or len(tasks)
    draws = rng.integers(num_groups, size=(num_samples, num_groups))
    intervals = {}
    for name in tasks[0]:
        values = np.array([task[name] for task in tasks])
        present = np.isfinite(values)
        sums = np.bincount(owners, np.where(present, values, 0.0), num_groups)[draws].sum(axis=1)
        counts = np.bincount(owners, present, num_groups)[draws].sum(axis=1)
        means = sums[counts > 0] / counts[counts > 0]
        if further is not None:
            means = means + further(name, len(means))
        low, high = (1 - level) / 2, (1 + level) / 2
        is_known = len(np.unique(owners[present])) > 1
        intervals[name] = (
            (float(np.quantile(means, low)), float(np.quantile(means, high)))
            if is_known
            else (float("nan"), float("nan"))
        )
    return intervals


def ceiling_metrics(
    latency_s: FloatArray, repeat_pairs: FloatArray, rng: np.random.Generator, num_draws: int = 8
) -> TaskMetrics | None:
    """The metrics between two measurements of all candidates: how far measuring agrees with itself.

    The second measurement is the first, shape (N,), changed by ratios that are drawn from those between
    two measurements of the candidates that were measured twice, ``repeat_pairs``, shape (M, 2), seconds,
    either way round. Two candidates that draw the same of few ratios would never change places, so each is
    varied about as much as M of them leave open (a smoothed bootstrap, Silverman and Young 1987). The mean of
    several draws; None if no candidate was measured twice.
    """
    known = repeat_pairs[np.isfinite(repeat_pairs).all(axis=1)]
    succeeded = latency_s[np.isfinite(latency_s)]
    if not len(known) or len(succeeded) < 2:
        return None
    changes = np.log(known[:, 1] / known[:, 0])
    size = (num_draws, len(succeeded))
    width = float(np.median(np.abs(changes)) / np.sqrt(len(changes)))
    drawn = rng.choice(np.concatenate([changes, -changes]), size=size) + width * rng.standard_normal(size)
    scores = -np.log(succeeded)
    return average([task_metrics(scores, labels_of(succeeded * np.exp(each))) for each in drawn])


def prefixed(metrics: Mapping[str, float], prefix: str) -> TaskMetrics:
    """The same metrics under ``prefix_name``, for flat tables."""
    return {f"{prefix}_{name}": value for name, value in metrics.items()}


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if np.isfinite(value)]
    return float(np.mean(known)) if known else float("nan")
