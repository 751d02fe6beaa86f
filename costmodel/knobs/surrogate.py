"""A model of one knob space that learns from its trials and says which point is worth trying next."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri
from scipy.stats import rankdata

from codegen.schedule.candidates import Candidates

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]


Promise: TypeAlias = Callable[[Array, Array, float], Array]
"""Of mean and deviation, shape (points,), and the best target: what a trial is worth, in any unit."""


class Points(Protocol):
    """A space whose points have numbers."""

    def rows(self, candidates: Candidates, /) -> IntArray:
        """Number of each candidate, shape (N,)."""


class Surrogate(Protocol):
    """Predicts a target, lower is better, at every point of a space."""

    def fit(self, rows: IntArray, targets: Array, /) -> None:
        """Learn from trials at the points ``rows``, in order; targets have mean 0 and deviation 1."""

    def predict(self) -> tuple[Array, Array]:
        """Mean and (positive) deviation at every point, shape (points,) each."""


class SurrogateModel:
    """What a search asks (``search.protocols.Model``): the promise of a point, as a rank.

    ``promise`` tells it from mean, deviation and the best target: by default the expected improvement.

    Times become normal scores of their ranks, failures the worst of all: neither a tail of slow points nor
    their unit matters then. Scores are exponential quantiles of the promise over all points,
    so that an annealer's temperature means the same in every space and the best stand well apart;
    points that were tried come last.
    ``guess`` (points,), lower is better, is what scores say before ``num_first`` trials. If it is in doubt
    (``is_doubtful``) they mean nothing before every other of these, so that a search draws at random: trials
    at the top of a guess alone do not tell whether it leads anywhere, as targets are ranks among the trials.
    """

    def __init__(
        self,
        points: Points,
        surrogate: Surrogate,
        guess: Array | None = None,
        is_doubtful: bool = False,
        num_first: int = 6,
        promise: Promise | None = None,
    ) -> None:
        self._points = points
        self._surrogate = surrogate
        self._num_first = num_first
        self._promise = promise or log_expected_improvement
        self._scores = None if guess is None else exponential_quantiles(-guess)
        self._doubted = self._scores if is_doubtful else None

    @property
    def is_fitted(self) -> bool:
        """Whether scores mean anything yet."""
        return self._scores is not None

    def score(self, candidates: Candidates) -> Array:
        """Shape (N,), higher is more worth a trial."""
        if self._scores is None:
            return np.zeros(len(candidates))
        return self._scores[self._points.rows(candidates)]

    def refit(self, candidates: Candidates, latencies_s: Array, failed: NDArray[np.bool_]) -> None:
        """Learn from all trials so far; too few, or fewer than two successes, change nothing."""
        fine = ~failed & np.isfinite(latencies_s)
        if len(fine) < self._num_first or fine.sum() < 2:
            if self._doubted is not None:
                self._scores = None if len(fine) % 2 else self._doubted
            return
        rows = self._points.rows(candidates)
        targets = standardised(normal_scores(np.where(fine, latencies_s, np.inf)))
        self._surrogate.fit(rows, targets)
        mean, spread = self._surrogate.predict()
        hope = self._promise(mean, spread, float(targets.min()))
        hope[rows] = -np.inf
        self._scores = exponential_quantiles(hope)


def normal_scores(values: Array) -> Array:
    """Standard normal quantiles of the ranks, shape (N,); equal values share one."""
    scores: Array = ndtri((rankdata(values) - 0.5) / len(values))
    return scores


def standardised(values: Array) -> Array:
    """Mean 0 and deviation 1; all 0 if they are equal."""
    deviation = float(values.std())
    scaled: Array = (values - values.mean()) / (deviation if deviation > 0 else 1.0)
    return scaled


def exponential_quantiles(values: Array) -> Array:
    """Quantiles of the exponential distribution by rank: the best of N gets log(N + 1), the middle log 2."""
    ranks = np.empty(len(values))
    ranks[np.argsort(values)] = np.arange(1, len(values) + 1)
    scores: Array = -np.log1p(-ranks / (len(values) + 1))
    return scores


def predicted_gain(mean: Array, deviation: Array, best: float) -> Array:
    """How much better than the best the mean is, whatever is unsure."""
    return best - mean


def log_expected_improvement(mean: Array, deviation: Array, best: float) -> Array:
    """Logarithm of the mean of max(best - target, 0) (Jones et al. 1998, equation 15), also far from hope.

    Where the improvement underflows, its asymptotic form goes on: phi(z) / z**2 for z far below 0.
    """
    z = (best - mean) / deviation
    near = np.maximum(z, -10.0)
    log_density = -0.5 * z**2 - 0.5 * np.log(2 * np.pi)
    improvement = np.log(np.maximum(near * ndtr(near) + np.exp(np.maximum(log_density, -60.0)), 1e-300))
    far = log_density - 2 * np.log(np.maximum(-z, 10.0))
    result: Array = np.log(deviation) + np.where(z < -10.0, far, improvement)
    return result
