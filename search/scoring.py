"""How good a search is where the best is known: its lead over random search, as a share of what is possible.

The performance after t trials is (random(t) - found(t)) / (random(t) - optimum) in seconds (doi
10.1016/j.future.2024.05.021): 0 is random search, 1 has the optimum, and it may be negative. Ours computes
random(t) exactly for draws without replacement. A run that found nothing yet counts as the slowest
configuration that runs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln
from scipy.stats import permutation_test

from search.curves import best_so_far, stack_curves

Array = NDArray[np.float64]

FIRST_TRIAL, LAST_TRIAL = 10, 400
"""Scores are means over these trials, both included; the first few are luck."""

_RESAMPLES = 2_000

_RESOLVED = 1e-9
"""Leads of less than this share of the optimum are rounding."""


def expected_random(times_s: Array, num_trials: int) -> Array:
    """Expected best time of random search after 1, 2, ... trials, shape (num_trials,), exactly.

    ``times_s`` (N,) is NaN for failures, which cost a trial. Draws are without replacement: the best is
    slower than the k best of N with the chance C(N - k, t) / C(N, t).
    """
    num, ranked = len(times_s), np.sort(times_s[np.isfinite(times_s)])
    if not len(ranked):
        raise ValueError(f"all {num} configurations failed, there is nothing to find")
    if not 0 < num_trials <= num:
        raise ValueError(f"num_trials must be in [1, {num}], got {num_trials}")
    missed, drawn = num - np.arange(len(ranked) + 1)[:, None], np.arange(num_trials)
    slower = np.cumprod(np.maximum(missed - drawn, 0) / (num - drawn), axis=1)
    expected: Array = ranked @ (slower[:-1] - slower[1:]) + slower[-1] * ranked[-1]
    return expected


def _expected_after(times_s: Array, trial: int) -> float:
    """The last of ``expected_random``, without the others."""
    num, ranked = len(times_s), np.sort(times_s[np.isfinite(times_s)])
    missed = num - np.arange(len(ranked) + 1)
    left = np.maximum(missed - trial, 0)
    logs = gammaln(missed + 1) - gammaln(left + 1) - gammaln(num + 1) + gammaln(num - trial + 1)
    slower = np.where(missed >= trial, np.exp(logs), 0.0)
    return float(ranked @ (slower[:-1] - slower[1:]) + slower[-1] * ranked[-1])


def found_curves(runs: list[Array], times_s: Array, num_trials: int) -> Array:
    """Best time after each trial, shape (runs, num_trials), of runs given by the times of their trials."""
    curves = stack_curves([best_so_far(run) for run in runs], num_trials)
    return np.where(np.isnan(curves), np.nanmax(times_s), curves)


def performance(curves: Array, times_s: Array) -> Array:
    """Shape (runs, trials); NaN from where even random search is sure of the optimum."""
    random, optimum = expected_random(times_s, curves.shape[1]), np.nanmin(times_s)
    possible = random - optimum
    possible[possible <= _RESOLVED * optimum] = np.nan
    return (random - curves) / possible


def tells_searches_apart(times_s: Array) -> bool:
    """Whether random search may still miss the optimum after the first trial that counts."""
    if len(times_s) <= FIRST_TRIAL:
        return False
    optimum = float(np.nanmin(times_s))
    return bool(expected_random(times_s, FIRST_TRIAL)[-1] - optimum > _RESOLVED * optimum)


def run_scores(curves: Array, times_s: Array, first: int = FIRST_TRIAL, last: int = LAST_TRIAL) -> Array:
    """Mean performance over trials ``first`` to ``last`` of each run, shape (runs,)."""
    shown = performance(curves, times_s)[:, first - 1 : last]
    known = ~np.isnan(shown).all(axis=0)
    if not known.any():
        raise ValueError(f"trials {first} to {last} tell nothing: random search has the optimum by then")
    scores: Array = shown[:, known].mean(axis=1)
    return scores


def random_budget(times_s: Array, share: float = 0.95) -> int:
    """Trials after which random search has gone ``share`` of the way from the median to the optimum."""
    optimum, median = np.nanmin(times_s), np.nanmedian(times_s)
    goal = optimum + (1 - share) * (median - optimum)
    missed, reached = 0, len(times_s)  # what is expected never rises, and all trials find the optimum
    while reached - missed > 1:
        middle = (missed + reached) // 2
        is_there = _expected_after(times_s, middle) <= goal
        missed, reached = (missed, middle) if is_there else (middle, reached)
    return reached


def interval(scores: Array, rng: np.random.Generator) -> tuple[float, float]:
    """95 % bootstrap interval of the mean over runs."""
    means = rng.choice(scores, (_RESAMPLES, len(scores))).mean(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)


def chance_of_no_lead(ours: Array, theirs: Array, rng: np.random.Generator) -> float:
    """One-sided permutation test: how likely so large a lead of the mean is between equal searches."""
    found = permutation_test(
        (ours, theirs),
        lambda left, right, axis: left.mean(axis=axis) - right.mean(axis=axis),
        vectorized=True,
        n_resamples=9_999,
        alternative="greater",
        rng=rng,
    )
    return float(found.pvalue)
