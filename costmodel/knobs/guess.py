"""What a source says of the points of a space, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from costmodel.knobs.factors import Array, IntArray

EVERY = slice(None)


class Doubt(Protocol):
    """How unsure a guess is, and at which points it would be wrong together."""

    def variance(self) -> Array:
        """At every point, shape (points,)."""

    def covariance(self, rows: IntArray, columns: IntArray | slice, /) -> Array:
        """Between points, shape (rows, columns)."""


@dataclass(frozen=True)
class Guess:
    """Scores of a source at the points of our space, lower is better; over its records they vary by about 1.

    ``mean`` (points,) is their expectation; without ``doubt`` they are no other. ``records`` are the points
    that the source has tried, and its scores there.
    """

    mean: Array
    records: tuple[IntArray, Array]
    doubt: Doubt | None = None

    def squares(self) -> Array:
        """Expected square of the score at every point, shape (points,)."""
        squares: Array = self.mean**2
        return squares if self.doubt is None else squares + self.doubt.variance()

    def products(self, rows: IntArray, columns: IntArray | slice = EVERY) -> Array:
        """Expected product of the scores of two points, shape (rows, columns)."""
        products = np.outer(self.mean[rows], self.mean[columns])
        return products if self.doubt is None else products + self.doubt.covariance(rows, columns)


def mean_guess(guesses: Sequence[Guess]) -> Array | None:
    """Mean over sources, shape (points,); None without a source."""
    if not guesses:
        return None
    mean: Array = np.mean([guess.mean for guess in guesses], axis=0)
    return mean
