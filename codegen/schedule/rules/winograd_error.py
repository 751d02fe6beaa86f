"""How far Winograd's minimal filtering may be from the sum that it stands for."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from codegen.schedule.rules.winograd_matrices import KERNEL, Matrix, Transform

_EPSILON = float(np.finfo(np.float32).eps)

_Array = NDArray[np.float64]


def winograd_error(transform: Transform, num_channels: int) -> float:
    """Rounding error of the worst element of a tile, for image and weights of order one.

    The running estimate of ``codegen.ops.tolerance``, element by element through the transforms: what is
    independent adds up like a random walk, so a row of a matrix amplifies magnitudes and errors by its
    Euclidean norm, and rounding adds an epsilon of the result for the square root of its terms. (Barabasz et
    al., arXiv:1803.10986, bound the worst case by such norms; independent inputs stay far below it.) Weights
    of a transform beyond one make what lies between larger than the result, and errors grow with it: that is
    the price of larger tiles.
    """
    points = transform.points
    image_scale, image_error = _transformed(
        transform.image, np.ones((points, points)), np.zeros((points, points))
    )
    kernel_scale, kernel_error = _transformed(
        transform.kernel, np.ones((KERNEL, KERNEL)), np.zeros((KERNEL, KERNEL))
    )
    term = image_scale * kernel_scale
    term_error = image_error * kernel_scale + image_scale * kernel_error
    scale = np.sqrt(num_channels) * term
    error = np.sqrt(num_channels) * (term_error + _EPSILON * scale)
    return float(_transformed(transform.output, scale, error)[1].max())


def _transformed(matrix: Matrix, scale: _Array, error: _Array) -> tuple[_Array, _Array]:
    """Magnitudes and errors of a block after ``matrix`` is applied to its columns and then to its rows."""
    weights = np.array(matrix)
    for _ in range(2):
        result = np.sqrt(weights**2 @ scale**2)
        # The first term of a sum is not rounded, but for its weight, and most weights are powers of two.
        roundings = np.sqrt(np.count_nonzero(weights, axis=1) - 1)[:, None]
        error = (np.sqrt(weights**2 @ error**2) + _EPSILON * roundings * result).T
        scale = result.T
    return scale, error
