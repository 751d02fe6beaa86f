"""Arrays that start on a cache line, as the tensors of deep learning libraries do."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

ALIGNMENT_BYTES = 64


def aligned_zeros(shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Float32 zeros, really written, so that the pages exist before anything is timed."""
    num_elements = math.prod(shape)
    spare = ALIGNMENT_BYTES // 4
    raw = np.empty(num_elements + spare, dtype=np.float32)
    offset = (-raw.ctypes.data % ALIGNMENT_BYTES) // 4
    array = raw[offset : offset + num_elements].reshape(shape)
    array.fill(0.0)
    return array


def aligned_copy(array: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """The same elements in row-major order under another shape of the same size."""
    copy = aligned_zeros(shape)
    copy[...] = array.reshape(shape)
    return copy
