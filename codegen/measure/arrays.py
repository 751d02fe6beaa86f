"""Arrays to measure on: they start on a cache line, and their pages exist before anything is timed."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from codegen.llvm.arrays import aligned_zeros


def touched_zeros(shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Float32 zeros, really written."""
    array = aligned_zeros(math.prod(shape)).reshape(shape)
    array.fill(0.0)
    return array


def touched_copy(array: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """The same elements in row-major order under another shape of the same size."""
    copy = touched_zeros(shape)
    copy[...] = array.reshape(shape)
    return copy
