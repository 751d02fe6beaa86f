"""The transforms of Winograd's minimal filtering F(m, 3), and how they amplify rounding errors.

One tile of a 3 x 3 convolution is ``A^T [(G g G^T) * (B^T d B)] A`` with an elementwise product in the middle
(Lavin and Gray, arXiv:1509.09308, equation 8): (m + 2)^2 multiplications in place of 9 m^2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

KERNEL = 3

_POINTS = {
    2: (Fraction(0), Fraction(1), Fraction(-1)),
    4: (Fraction(0), Fraction(1), Fraction(-1), Fraction(1, 2), Fraction(-2)),
}
"""Where the polynomials are evaluated, besides infinity. For m = 4 a half stands beside -2, as Barabasz et
al. (arXiv:1803.10986) advise: with 2 in its place, as in Lavin and Gray, errors are half as large again."""

Matrix = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Transform:
    """The matrices of F(m, 3), each as its rows: ``output`` is A^T, ``kernel`` G, ``image`` B^T."""

    output: Matrix
    kernel: Matrix
    image: Matrix

    @property
    def tile(self) -> int:
        """Outputs of one tile along one dimension: m."""
        return len(self.output)

    @property
    def points(self) -> int:
        """Inputs of one tile along one dimension: m + 2."""
        return len(self.image)


def transform(tile: int) -> Transform:
    """The matrices for m = 2 or 4, by Toom and Cook's construction.

    >>> for row in transform(2).image:
    ...     print(row)
    (-1.0, 0.0, 1.0, 0.0)
    (0.0, 1.0, 1.0, 0.0)
    (0.0, -1.0, 1.0, 0.0)
    (0.0, -1.0, 0.0, 1.0)
    """
    points = _POINTS[tile]
    image, kernel = [], []
    for point in points:
        others = [other for other in points if other != point]
        image.append((*_with_roots(others), Fraction(0)))
        scale = math.prod((point - other for other in others), start=Fraction(1))
        kernel.append(tuple(point**power / scale for power in range(KERNEL)))
    image.append(_with_roots(points))
    kernel.append(tuple(Fraction(power == KERNEL - 1) for power in range(KERNEL)))
    output = [(*(point**power for point in points), Fraction(power == tile - 1)) for power in range(tile)]
    return Transform(_floats(output), _floats(kernel), _floats(image))


def _with_roots(roots: tuple[Fraction, ...] | list[Fraction]) -> tuple[Fraction, ...]:
    """Coefficients of the monic polynomial with these roots, constant term first."""
    coefficients = [Fraction(1)]
    for root in roots:
        shifted, scaled = [Fraction(0), *coefficients], [-root * c for c in coefficients] + [Fraction(0)]
        coefficients = [one + other for one, other in zip(shifted, scaled, strict=True)]
    return tuple(coefficients)


def _floats(rows: list[tuple[Fraction, ...]]) -> Matrix:
    return tuple(tuple(float(number) for number in row) for row in rows)
