"""A Gaussian process that predicts all points of a space at once and grows with every trial."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.optimize import minimize

from costmodel.knobs.factors import Array, Factor, IntArray, guess_factor
from costmodel.knobs.guess import Guess
from costmodel.knobs.kernel import ProductKernel

JITTER = 1e-5
"""Added to the nugget: more than the rounding of float32 rows."""
FLOOR = 1e-9
"""Least variance, so that a logarithm or a quotient exists."""

_LEAST_NUGGET = 1e-5

_IMPOSSIBLE = 1e10
"""Loss of hyperparameters that have no factor."""


@dataclass(frozen=True, kw_only=True)
class GaussianProcessConfig:
    """How hyperparameters are found: by the posterior of at most ``num_learnt`` trials.

    They are learnt anew when the trials have grown by ``growth`` since the last time. ``nugget`` is the
    share of the variance of the targets that is expected to be peculiar to a point, before any trial.
    """

    num_learnt: int = 200
    growth: float = 1.4
    num_iterations: int = 15
    nugget: float = 1e-2

    def __post_init__(self) -> None:
        if not _LEAST_NUGGET <= self.nugget <= 1:
            raise ValueError(f"nugget must be in [{_LEAST_NUGGET}, 1], got {self.nugget}")
        if self.num_learnt < 2 or self.num_iterations < 1 or not self.growth > 1:
            raise ValueError(f"num_learnt >= 2, num_iterations >= 1 and growth > 1 are needed, got {self}")


class GaussianProcess:
    """A product kernel over knobs, with a guess of the mean where other devices give one.

    Each of the ``guesses`` is a factor of the kernel, and the target may follow it in a straight line: a
    slope times what the source would say. The slope has a normal prior whose variance is learnt, what the
    source would say is known with doubt, so the covariance is that variance times the expected product of
    what it says of two points. Which knobs matter is learnt from the sources' records if ``learns_kernel``:
    those of a source that lacks some knobs would say that these do not.

    The nugget is no noise: a kernel measured twice takes the same time, but no two points are quite what the
    knobs together say. So a point without a trial is as unsure as its nugget at least.

    Rows of the inverse Cholesky factor times the covariance with all points are kept. A further trial adds
    one row at the cost of (trials x points), where solving anew costs (trials squared x points). They are
    float32, as reading them is what takes the time.
    """

    def __init__(
        self,
        factors: Sequence[Factor],
        config: GaussianProcessConfig,
        guesses: Sequence[Guess] = (),
        learns_kernel: bool = True,
    ) -> None:
        self._num_points = len(factors[0].places)
        self._guesses = guesses
        self._kernel = ProductKernel([*factors, *(guess_factor(guess.mean) for guess in guesses)])
        self._config = config
        num_sources = len(guesses)
        # Logarithms of the kernel's own, signal, nugget and slopes along the priors; targets vary by 1.
        self._mean = np.concatenate([self._kernel.mean, [0.0, np.log(config.nugget)], np.zeros(num_sources)])
        self._bounds = [
            *self._kernel.bounds,
            (-3.0, 5.0),
            (np.log(_LEAST_NUGGET), 0.0),
            *[(-8.0, 3.0)] * num_sources,
        ]
        telling = [guess for guess in guesses if learns_kernel and len(guess.records[0]) > 1]
        if telling:
            known = _kernel_of(factors, telling, config)
            self._mean[: len(known)] = known
        self._hyper = self._mean.copy()
        self._rows = np.zeros(0, np.int64)
        self._factor = np.zeros((0, 0))
        self._solved = np.zeros((0, self._num_points), np.float32)
        self._variance = np.ones(self._num_points)
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
        """Mean and deviation of the target at every point, as if none had been tried."""
        mean = self._weights.astype(np.float32) @ self._solved[: len(self._rows)]
        deviation = np.sqrt(np.maximum(self._variance, FLOOR) + self._nugget)
        return mean.astype(np.float64), deviation

    def variance(self) -> Array:
        """What the trials leave open at every point, without the nugget, shape (points,)."""
        return np.maximum(self._variance, 0.0)

    def covariance(self, rows: IntArray, columns: IntArray | slice) -> Array:
        """What they leave open at two points, shape (rows, columns)."""
        solved = self._solved[: len(self._rows)]
        before = self._signal * self._kernel.rows(rows, self._tables, columns)
        left: Array = (before - solved[:, rows].T @ solved[:, columns]).astype(np.float64)
        return left

    def _learn(self, rows: IntArray, targets: Array) -> None:
        """Maximise the posterior of the hyperparameters on the best trials and a spread of the others."""
        limit = self._config.num_learnt
        if len(rows) > limit:
            order = np.argsort(targets, kind="stable")
            others = np.linspace(limit // 2, len(rows) - 1, limit - limit // 2).astype(np.int64)
            chosen = order[np.concatenate([np.arange(limit // 2), others])]
            rows, targets = rows[chosen], targets[chosen]
        found = minimize(
            self._loss,
            self._hyper,
            args=(rows, targets, [guess.products(rows, rows) for guess in self._guesses]),
            jac=True,
            method="L-BFGS-B",
            bounds=self._bounds,
            options={"maxiter": self._config.num_iterations},
        )
        self._hyper = found.x

    def _loss(
        self, hyper: Array, rows: IntArray, targets: Array, products: Sequence[Array]
    ) -> tuple[float, Array]:
        """Minus the log posterior and its gradient; standard normal priors around ``self._mean``."""
        logs, (signal, nugget), slopes = self._parts(hyper)
        shape = signal * self._kernel.among(rows, logs)
        covariance = shape + sum(map(np.multiply, slopes, products), np.zeros_like(shape))
        covariance[np.diag_indices(len(targets))] += nugget + JITTER
        away = hyper - self._mean
        try:
            factor = cholesky(covariance, lower=True, check_finite=False)
        except np.linalg.LinAlgError:  # near the bounds rounding may beat the nugget; the search turns back
            return _IMPOSSIBLE, np.zeros_like(hyper)
        solved = cho_solve((factor, True), targets)
        inner = 0.5 * (cho_solve((factor, True), np.eye(len(targets))) - np.outer(solved, solved))
        loss = 0.5 * float(targets @ solved) + float(np.log(np.diag(factor)).sum()) + 0.5 * float(away @ away)
        upstream = inner * shape
        gradient = np.concatenate(
            [
                self._kernel.gradient(rows, logs, upstream),
                [float(upstream.sum()), nugget * float(np.trace(inner))],
                slopes * np.array([(product * inner).sum() for product in products]),
            ]
        )
        return loss, gradient + away

    def _parts(self, hyper: Array) -> tuple[Array, tuple[float, float], Array]:
        """Logarithms of the kernel, then (signal, nugget) and slopes themselves."""
        num = len(self._kernel.mean)
        values = np.exp(hyper[num:])
        return hyper[:num], (float(values[0]), float(values[1])), values[2:]

    def _restart(self, rows: IntArray) -> None:
        logs, (signal, nugget), slopes = self._parts(self._hyper)
        self._tables = [table.astype(np.float32) for table in self._kernel.tables(logs)]
        self._signal, self._nugget, self._slopes = signal, nugget, slopes
        self._rows, self._factor = rows[:0], np.zeros((0, 0))
        self._variance = np.full(self._num_points, signal)
        for slope, guess in zip(slopes, self._guesses, strict=True):
            self._variance += slope * guess.squares()
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
        own[np.diag_indices(len(rows))] += self._nugget + JITTER
        pivots = cholesky(own, lower=True, check_finite=False)
        rest = covariance - left @ self._solved[:num]
        new = solve_triangular(pivots, rest, lower=True, check_finite=False)
        self._solved[num:total] = new
        self._variance -= (new**2).sum(axis=0)
        factor = np.zeros((total, total))
        factor[:num, :num], factor[num:, :num], factor[num:, num:] = self._factor, left, pivots
        self._factor = factor
        self._rows = np.concatenate([self._rows, rows])

    def _covariance(self, rows: IntArray) -> NDArray[np.floating[Any]]:
        """Between trials at these points and all points, shape (rows, points)."""
        covariance: NDArray[np.floating[Any]] = self._signal * self._kernel.rows(rows, self._tables)
        for slope, guess in zip(self._slopes, self._guesses, strict=True):
            covariance = covariance + slope * guess.products(rows)
        return covariance


def _kernel_of(factors: Sequence[Factor], guesses: Sequence[Guess], config: GaussianProcessConfig) -> Array:
    """Logarithms of the kernel that explains the records, their mean over sources.

    Which knobs matter, and where neighbours are alike, is much the same on another device, even where the
    best point is not.
    """
    found = []
    for guess in guesses:
        process = GaussianProcess(factors, config)
        rows, targets = guess.records
        deviation = float(targets.std())
        process._learn(rows, (targets - targets.mean()) / (deviation if deviation > 0 else 1.0))
        found.append(process._hyper[: len(process._kernel.mean)])
    mean: Array = np.mean(found, axis=0)
    return mean
