"""A model of one knob space that learns from its trials and says which point is worth trying next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri
from scipy.stats import rankdata

from codegen.schedule.candidates import Candidates

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]


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


@runtime_checkable
class Rescalable(Protocol):
    """A surrogate that can say what it would predict on another scale of the same times."""

    def mean_of(self, targets: Array, /) -> Array:
        """Shape (points,); targets of the known trials, with mean 0 and deviation 1."""


class SurrogateModel:
    """What a search asks (``search.protocols.Model``): the expected improvement at a point, as a rank.

    A scale of times decides what an improvement is worth. By the normal scores of their ranks no unit and
    no tail of slow points matters, but a step ahead within a crowd of equals looks large; by logarithms
    (above the median by their logarithm again) such steps are small, and far regions are worth a
    trial. Neither is right for all spaces, so where the surrogate is ``Rescalable`` points are taken
    from both orders in turn. Failures are as bad as the slowest success, or worse.

    Scores are exponential quantiles over all points, so that an annealer's temperature means the same in
    every space and the best stand well apart; points that were tried come last.
    ``guess`` (points,), lower is better, is what scores say before ``num_first`` trials.
    """

    def __init__(
        self, points: Points, surrogate: Surrogate, guess: Array | None = None, num_first: int = 10
    ) -> None:
        self._points = points
        self._surrogate = surrogate
        self._num_first = num_first
        self._scores = None if guess is None else exponential_quantiles(-guess)

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
            return
        rows = self._points.rows(candidates)
        ranks = standardised(normal_scores(np.where(fine, latencies_s, np.inf)))
        self._surrogate.fit(rows, ranks)
        mean, spread = self._surrogate.predict()
        hopes = [log_expected_improvement(mean, spread, float(ranks.min()))]
        if isinstance(self._surrogate, Rescalable):
            logs = standardised(bent_logarithms(np.where(fine, latencies_s, latencies_s[fine].max())))
            mean = self._surrogate.mean_of(logs)
            hopes.append(log_expected_improvement(mean, spread, float(logs.min())))
        for hope in hopes:
            hope[rows] = -np.inf
        first = len(rows) % len(hopes)  # so that plans of one trial take turns as well
        self._scores = exponential_quantiles(in_turn([*hopes[first:], *hopes[:first]]))


def bent_logarithms(times: Array) -> Array:
    """Logarithms over the best, in units of the median's; above the median the logarithm of that, plus 1.

    >>> bent_logarithms(np.exp([0.0, 1.0, 2.0, 4.0, 8.0])).round(3).tolist()
    [0.0, 0.5, 1.0, 1.693, 2.386]
    """
    logs = np.log(times) - np.log(times.min())
    middle = float(np.median(logs))
    shares = logs / (middle if middle > 0 else 1.0)
    bent: Array = np.where(shares < 1, shares, 1 + np.log(np.maximum(shares, 1)))
    return bent


def in_turn(hopes: Sequence[Array]) -> Array:
    """One order from several: the best of the first, of the second, ..., then the second best of the first.

    Higher is better, in what is given and in the result; what comes twice keeps its better place.

    >>> in_turn([np.array([3.0, 2.0, 1.0]), np.array([1.0, 3.0, 2.0])]).tolist()
    [-0.0, -1.0, -3.0]
    """
    places = np.empty((len(hopes), len(hopes[0])))
    for number, hope in enumerate(hopes):
        places[number, np.argsort(-hope, kind="stable")] = len(hopes) * np.arange(len(hope)) + number
    order: Array = -places.min(axis=0)
    return order


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
