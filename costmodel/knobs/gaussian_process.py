"""A Gaussian process that predicts all points of a space at once and grows with every trial."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.optimize import minimize

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]

JITTER = 1e-5
"""Least noise: more than the rounding of float32 rows."""
FLOOR = 1e-9
"""Least variance, so that a logarithm or a quotient exists."""

_IMPOSSIBLE = 1e10
"""Loss of hyperparameters that have no factor."""


@dataclass(frozen=True, kw_only=True)
class GaussianProcessConfig:
    """How hyperparameters are found: by the posterior of at most ``num_learnt`` trials.

    They are learnt anew when the trials have grown by ``growth`` since the last time.
    """

    num_learnt: int = 200
    growth: float = 1.5
    num_iterations: int = 15

    def __post_init__(self) -> None:
        if self.num_learnt < 2 or self.num_iterations < 1 or not self.growth > 1:
            raise ValueError(f"num_learnt >= 2, num_iterations >= 1 and growth > 1 are needed, got {self}")


class GaussianProcess:
    """Matern 5/2 kernel with a length per feature (Rasmussen and Williams 2006, section 4.2).

    ``features`` is (points, features). ``priors`` (points, sources) are guesses of the targets, lower is
    better, as other devices give them: each is a feature too, and the mean may follow it in a straight line.

    Rows of the inverse Cholesky factor times the covariance with all points are kept. A further trial adds
    one row at the cost of (trials x points), where solving anew costs (trials squared x points). They are
    float32, as reading them is what takes the time.
    """

    def __init__(self, features: Array, config: GaussianProcessConfig, priors: Array | None = None) -> None:
        self._priors = np.zeros((len(features), 0)) if priors is None else priors
        self._features = np.column_stack([features, self._priors / 4])
        self._config = config
        num_lengths, num_sources = self._features.shape[1], self._priors.shape[1]
        # Logarithms of a length per feature, signal, noise and slopes along the priors; targets vary by 1.
        self._mean = np.concatenate([np.zeros(num_lengths), [0.0, np.log(1e-2)], np.zeros(num_sources)])
        self._hyper = self._mean.copy()
        self._bounds = [(-4, 3)] * num_lengths + [(-3, 4), (np.log(1e-5), 0.0)] + [(-8, 3)] * num_sources
        self._num_lengths = num_lengths
        self._rows = np.zeros(0, np.int64)
        self._factor = np.zeros((0, 0))
        self._solved = np.zeros((0, len(features)), np.float32)
        self._variance = np.ones(len(features))
        self._next_learning = 0

    def fit(self, rows: IntArray, targets: Array) -> None:
        """Know the trials at these points; what was known before comes first, targets may all be others."""
        grows = np.array_equal(rows[: len(self._rows)], self._rows)
        if len(rows) >= self._next_learning or not grows:
            self._next_learning = int(len(rows) * self._config.growth) + 1
            self._learn(rows, targets)
            self._restart(rows)
        elif len(rows) > len(self._rows):
            self._extend(rows[len(self._rows) :])
        self._weights = solve_triangular(self._factor, targets, lower=True, check_finite=False)

    def predict(self) -> tuple[Array, Array]:
        """Mean and deviation of the target at every point, noise apart."""
        mean = self._weights.astype(np.float32) @ self._solved[: len(self._rows)]
        return mean.astype(np.float64), np.sqrt(np.maximum(self._variance, FLOOR))

    def _learn(self, rows: IntArray, targets: Array) -> None:
        """Maximise the posterior of the hyperparameters on the best trials and a spread of the others."""
        limit = self._config.num_learnt
        if len(rows) > limit:
            order = np.argsort(targets, kind="stable")
            others = np.linspace(limit // 2, len(rows) - 1, limit - limit // 2).astype(np.int64)
            chosen = order[np.concatenate([np.arange(limit // 2), others])]
            rows, targets = rows[chosen], targets[chosen]
        points, priors = self._features[rows], self._priors[rows]
        squares = ((points[:, None] - points[None]) ** 2).transpose(2, 0, 1).copy()
        lines = priors.T[:, :, None] * priors.T[:, None, :]
        found = minimize(
            self._loss,
            self._hyper,
            args=(squares, lines, targets),
            jac=True,
            method="L-BFGS-B",
            bounds=self._bounds,
            options={"maxiter": self._config.num_iterations},
        )
        self._hyper = found.x

    def _loss(self, hyper: Array, squares: Array, lines: Array, targets: Array) -> tuple[float, Array]:
        """Minus the log posterior and its gradient; standard normal priors around ``self._mean``."""
        lengths, (signal, noise), slopes = self._parts(hyper)
        scales = lengths**-2
        shape, slope = _matern(np.tensordot(scales, squares, 1))
        covariance = signal * shape + np.tensordot(slopes, lines, 1)
        covariance[np.diag_indices(len(targets))] += noise + JITTER
        away = hyper - self._mean
        try:
            factor = cholesky(covariance, lower=True, check_finite=False)
        except np.linalg.LinAlgError:  # near the bounds rounding may beat the noise; the search turns back
            return _IMPOSSIBLE, np.zeros_like(hyper)
        solved = cho_solve((factor, True), targets)
        inner = 0.5 * (cho_solve((factor, True), np.eye(len(targets))) - np.outer(solved, solved))
        loss = 0.5 * float(targets @ solved) + float(np.log(np.diag(factor)).sum()) + 0.5 * float(away @ away)
        gradient = np.concatenate(
            [
                2 * scales * np.tensordot(squares, inner * signal * slope, 2),
                [signal * float((inner * shape).sum()), noise * float(np.trace(inner))],
                slopes * np.tensordot(lines, inner, 2),
            ]
        )
        return loss, gradient + away

    def _parts(self, hyper: Array) -> tuple[Array, tuple[float, float], Array]:
        """Lengths, (signal, noise) and slopes."""
        values = np.exp(hyper)
        num = self._num_lengths
        return values[:num], (float(values[num]), float(values[num + 1])), values[num + 2 :]

    def _restart(self, rows: IntArray) -> None:
        lengths, (signal, noise), slopes = self._parts(self._hyper)
        self._points = self._features / lengths
        self._norms = (self._points**2).sum(axis=1)
        self._signal, self._noise, self._slopes = signal, noise, slopes
        self._rows, self._factor = rows[:0], np.zeros((0, 0))
        self._variance = signal + self._priors**2 @ slopes
        self._extend(rows)

    def _extend(self, rows: IntArray) -> None:
        """Further rows of the Cholesky factor, and of its inverse times the covariance with all points."""
        num, total = len(self._rows), len(self._rows) + len(rows)
        if total > len(self._solved):  # room for half as many again
            room = np.empty((total + total // 2, self._solved.shape[1]), np.float32)
            room[:num] = self._solved[:num]
            self._solved = room
        left = self._solved[:num, rows].T
        covariance = self._covariance(rows)
        own = covariance[:, rows] - left.astype(np.float64) @ left.T.astype(np.float64)
        own[np.diag_indices(len(rows))] += self._noise + JITTER
        pivots = cholesky(own, lower=True, check_finite=False)
        rest = covariance - left @ self._solved[:num]
        new = solve_triangular(pivots, rest, lower=True, check_finite=False)
        self._solved[num:total] = new
        self._variance -= (new**2).sum(axis=0)
        factor = np.zeros((total, total))
        factor[:num, :num], factor[num:, :num], factor[num:, num:] = self._factor, left, pivots
        self._factor = factor
        self._rows = np.concatenate([self._rows, rows])

    def _covariance(self, rows: IntArray) -> Array:
        """Between trials at these points and all points, shape (rows, points)."""
        products = self._points[rows] @ self._points.T
        squares = np.maximum(self._norms[rows][:, None] + self._norms - 2 * products, 0.0)
        lines: Array = (self._priors[rows] * self._slopes) @ self._priors.T
        return self._signal * _matern(squares)[0] + lines


def _matern(squares: Array) -> tuple[Array, Array]:
    """The kernel of squared distances, and minus its derivative."""
    scaled = np.sqrt(5 * np.maximum(squares, 1e-30))
    decay = np.exp(-scaled)
    return (1 + scaled + scaled**2 / 3) * decay, (5 / 6) * (1 + scaled) * decay
