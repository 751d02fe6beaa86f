"""What a search has found after t trials: the curves of the search-efficiency figure.

A curve has shape (trials,), seconds; NaN stands for "nothing found yet". Runs are rows of (runs, trials).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Band:
    """Per trial over runs: the median and the bounds around it, each the value of one real run."""

    median: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def best_so_far(latencies_s: Sequence[float | None] | NDArray[np.float64]) -> NDArray[np.float64]:
    """The lowest latency up to each trial; failures are None or NaN."""
    return np.fmin.accumulate(np.array(latencies_s, dtype=np.float64))


def stack_curves(curves: Sequence[NDArray[np.float64]], num_trials: int) -> NDArray[np.float64]:
    """Curves cut or continued to ``num_trials``: what a run that ended early had found, it keeps."""
    stacked = np.full((len(curves), num_trials), np.nan)
    for row, curve in enumerate(curves):
        stacked[row, : len(curve)] = curve[:num_trials]
        if 0 < len(curve) < num_trials:
            stacked[row, len(curve) :] = curve[-1]
    return stacked


def median_band(curves: NDArray[np.float64], low: float = 0.25, high: float = 0.75) -> Band:
    """Quantiles over runs, without interpolation; a run that found nothing yet counts as slowest.

    Of two middle runs the slower is the median. NaN where that run has found nothing.
    """
    if not 0 <= low <= 0.5 <= high <= 1:
        raise ValueError(f"need 0 <= low <= 0.5 <= high <= 1, got {low} and {high}")
    if curves.ndim != 2 or len(curves) == 0:
        raise ValueError(f"curves must have shape (runs, trials) with at least one run, got {curves.shape}")
    ordered = np.sort(curves, axis=0)  # NaN goes last
    last = len(curves) - 1
    rows = [min(int(quantile * len(curves)), last) for quantile in (0.5, low, high)]
    return Band(*(ordered[row] for row in rows))


def trials_to_reach(curve: NDArray[np.float64], threshold_s: float) -> int | None:
    """Number of trials until the curve is at or under the threshold; None if it never is."""
    reached = np.flatnonzero(curve <= threshold_s)
    return int(reached[0]) + 1 if len(reached) else None


def median_trials_to_reach(curves: NDArray[np.float64], threshold_s: float) -> int | None:
    """Median over runs; a run that never gets there counts as longest, None if that is the median run.

    Of two middle runs the longer is taken.
    """
    longest = curves.shape[1] + 1
    trials = sorted(trials_to_reach(curve, threshold_s) or longest for curve in curves)
    median = trials[len(trials) // 2]
    return median if median < longest else None
