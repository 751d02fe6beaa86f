"""Fast membership among candidates: a 64-bit digest for each row.

Sorting the exact keys costs more than scoring them. Two different rows share a digest with a chance
of about 2**-60, and all that follows is that one candidate is skipped; equal rows never differ.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from codegen.schedule.candidates import Candidates

_MULTIPLIERS = np.random.default_rng(0x5EED).integers(0, 2**64, 4096, dtype=np.uint64) | np.uint64(1)


def digests(keys: NDArray[np.void]) -> NDArray[np.uint64]:
    """Shape (N,), in the order of ``keys`` (those of ``Candidates.keys``)."""
    if len(keys) == 0:
        return np.empty(0, np.uint64)
    return row_digests(np.ascontiguousarray(keys).view(np.int64).reshape(len(keys), -1))


def row_digests(rows: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Shape (N,), one for each row of an array of shape (N, columns)."""
    words = np.ascontiguousarray(rows).view(np.uint64)
    # Integer arithmetic wraps around here on purpose: this is multiplicative hashing modulo 2**64.
    mixed: NDArray[np.uint64] = (words * _MULTIPLIERS[: words.shape[1]]).sum(axis=1, dtype=np.uint64)
    return mixed


def is_member(values: NDArray[np.uint64], ordered: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Whether each value occurs in ``ordered``, which is sorted."""
    if len(ordered) == 0:
        return np.zeros(len(values), np.bool_)
    places = np.minimum(np.searchsorted(ordered, values), len(ordered) - 1)
    found: NDArray[np.bool_] = ordered[places] == values
    return found


def distinct_rows(values: NDArray[np.uint64], excluded: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Row numbers, rising, of first occurrences that are not in ``excluded``, which is sorted."""
    first = np.sort(np.unique(values, return_index=True)[1])
    return first[~is_member(values[first], excluded)]


def keep_new(candidates: Candidates, excluded: NDArray[np.uint64]) -> Candidates:
    """The candidates that are distinct and not in ``excluded`` (sorted digests), in order."""
    return candidates[distinct_rows(digests(candidates.keys()), excluded)]
