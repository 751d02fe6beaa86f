"""The kernel of the Gaussian process over knobs: what one knob does is learnt apart from the others.

``signal * product over factors of (1 + weight * matern) / (1 + weight)``: multiplied out, it is a sum over
all sets of factors, from each alone (main effects, which reach across the whole space) to all together
(a plain product kernel, which knows its surroundings only). The weights say which part matters: functional
ANOVA, as in Duvenaud et al. 2011, with a weight per factor in place of one per order.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from costmodel.knobs.factors import Array, Factor, IntArray
from costmodel.knobs.guess import EVERY

_DERIVED_LOG_WEIGHT = -2.0
"""What is derived from knobs starts small: it may say nothing new."""

_WEIGHT_BOUNDS, _LENGTH_BOUNDS = (-6.0, 5.0), (-4.0, 3.0)
_ONE_WEIGHT = 1


class ProductKernel:
    """Covariances of points, by logarithms of a weight and of a length per coordinate for each factor.

    ``mean`` and ``bounds`` are those of the logarithms, in the order of the factors; the signal is apart.
    """

    def __init__(self, factors: Sequence[Factor]) -> None:
        self._places = [factor.places for factor in factors]
        self._squares = [
            (factor.coordinates[:, :, None] - factor.coordinates[:, None]) ** 2 for factor in factors
        ]
        self._sizes = [factor.num_values for factor in factors]
        self.mean = np.concatenate([_start(factor) for factor in factors])
        self.bounds = [
            bound for squares in self._squares for bound in [_WEIGHT_BOUNDS, *[_LENGTH_BOUNDS] * len(squares)]
        ]
        ends = np.cumsum([_ONE_WEIGHT + len(squares) for squares in self._squares])
        self._ends = ends.tolist()

    def tables(self, logs: Array) -> list[Array]:
        """A matrix (values, values) per factor, 1 on its diagonal."""
        return [table for table, _ in self._differentiated(logs)]

    def among(self, rows: IntArray, logs: Array) -> Array:
        """Between the points ``rows``, for signal 1."""
        shape = np.ones((len(rows), len(rows)))
        for table, places in zip(self.tables(logs), self._places, strict=True):
            shape *= table[places[rows]][:, places[rows]]
        return shape

    def gradient(self, rows: IntArray, logs: Array, upstream: Array) -> Array:
        """Of a loss with respect to the logarithms; ``upstream`` is its gradient times ``among(rows)``.

        A table's entry moves all pairs with its two values alike, so that they are summed first.
        """
        slopes: list[float] = []
        for (table, parts), places in zip(self._differentiated(logs), self._places, strict=True):
            one_hot = np.eye(len(table))[places[rows]]
            pairs = one_hot.T @ upstream @ one_hot / table
            slopes += [float((pairs * part).sum()) for part in parts]
        return np.array(slopes)

    def rows(
        self, rows: IntArray, tables: Sequence[NDArray[np.float32]], columns: IntArray | slice = EVERY
    ) -> NDArray[np.float32]:
        """Between the points ``rows`` and ``columns``, shape (rows, columns), for signal 1."""
        shape = np.ones((len(rows), len(self._places[0][columns])), np.float32)
        for table, places in zip(tables, self._places, strict=True):
            shape *= np.take(table[places[rows]], places[columns], axis=1)
        return shape

    def _differentiated(self, logs: Array) -> list[tuple[Array, list[Array]]]:
        """Each table with its derivatives by its own logarithms, the weight's first."""
        found, start = [], 0
        for end, squares, size in zip(self._ends, self._squares, self._sizes, strict=True):
            weight, scales = np.exp(logs[start]), np.exp(-2 * logs[start + 1 : end])
            start = end
            if len(squares):
                shape, slope = _matern(np.tensordot(scales, squares, 1))
                lengths = [2 * scale * square * slope for scale, square in zip(scales, squares)]
            else:
                shape, lengths = np.eye(size), []
            parts = [weight * (shape - 1) / (1 + weight) ** 2]
            parts += [weight * part / (1 + weight) for part in lengths]
            found.append(((1 + weight * shape) / (1 + weight), parts))
        return found


def _start(factor: Factor) -> Array:
    weight = _DERIVED_LOG_WEIGHT if factor.is_derived else 0.0
    return np.array([weight, *[0.0] * len(factor.coordinates)])


def _matern(squares: Array) -> tuple[Array, Array]:
    """Matern 5/2 of squared distances, and minus its derivative (Rasmussen and Williams 2006, 4.2)."""
    scaled = np.sqrt(5 * np.maximum(squares, 1e-30))
    decay = np.exp(-scaled)
    return (1 + scaled + scaled**2 / 3) * decay, (5 / 6) * (1 + scaled) * decay
