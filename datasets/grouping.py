"""Numbering, and summaries of groups, for arrays that hold many small groups."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def number_texts(texts: Sequence[str]) -> Ints:
    """Equal numbers for equal texts."""
    first = {text: number for number, text in reversed(list(enumerate(texts)))}
    return np.array([first[text] for text in texts], dtype=np.int64)


def number_rows(rows: Ints) -> tuple[Ints, Ints]:
    """Number equal rows alike, in the order of first appearance; also where each first appears."""
    opaque = np.ascontiguousarray(rows).view(np.dtype((np.void, rows.itemsize * rows.shape[1]))).reshape(-1)
    _, first, inverse = np.unique(opaque, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return rank[inverse], first[order]


def medians(values: Floats, groups: Ints, num_groups: int) -> tuple[Floats, Floats]:
    """Median and difference of the quartiles of each group; NaN for an empty group."""
    ordered = values[np.lexsort((values, groups))]
    counts = np.bincount(groups, minlength=num_groups)
    starts = np.cumsum(counts) - counts
    median, low, high = (np.full(num_groups, np.nan) for _ in range(3))
    some = counts > 0
    for quantile, result in ((0.5, median), (0.25, low), (0.75, high)):
        position = quantile * (counts[some] - 1)
        below = position.astype(np.int64)
        above = np.minimum(below + 1, counts[some] - 1)
        left, right = ordered[starts[some] + below], ordered[starts[some] + above]
        result[some] = left + (position - below) * (right - left)
    return median, high - low


def first_two(trial_latency_s: Floats, candidates: Ints, num_candidates: int) -> Floats:
    """Latency of each candidate's first and second trial with times, shape (candidates, 2)."""
    trials = np.flatnonzero(~np.isnan(trial_latency_s))
    trials = trials[np.argsort(candidates[trials], kind="stable")]
    counts = np.bincount(candidates[trials], minlength=num_candidates)
    starts = np.cumsum(counts) - counts
    pairs = np.full((num_candidates, 2), np.nan)
    for column in range(2):
        some = counts > column
        pairs[some, column] = trial_latency_s[trials[starts[some] + column]]
    return pairs
