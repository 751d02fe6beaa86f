"""A kernel over knobs as a product of one factor per knob, each a small table over the knob's values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]

_LEVELS = 64
"""Steps of a guess, whose values are as many as there are points."""

_GUESS_SPAN = 8.0
"""Normal scores lie in a range of about this width."""


@dataclass(frozen=True)
class Factor:
    """One knob, or what is derived from some: ``places`` (points,) number its values.

    ``coordinates`` (coordinates, values) in [0, 1] say how far apart values are; none where all are
    unlike each other. ``is_derived`` marks what says nothing that the knobs do not say together.
    """

    places: IntArray
    num_values: int
    coordinates: Array
    is_derived: bool = False


def knob_factors(values: Sequence[Sequence[object]], positions: IntArray) -> list[Factor]:
    """Factors of knobs with these values, for points given by positions (points, knobs) of values.

    A number's coordinates are its logarithm and, where that says something else, how often 2 divides it:
    whether a block fills its warps and a tile divides a matrix hangs on that. The product of two numbers
    (threads of a block, elements of a tile) is a factor as well. Words, and knobs of two values, have no
    coordinates; a knob without a choice is left out.
    """
    found, products = [], []
    for column, known in enumerate(values):
        places = positions[:, column].astype(np.int64)
        if len(known) < 2:
            continue
        numbers = _numbers(known)
        if numbers is None or len(known) == 2:
            found.append(Factor(places, len(known), np.zeros((0, len(known)))))
        else:
            found.append(Factor(places, len(known), _coordinates(numbers)))
            if numbers.min() > 0:
                products.append(np.log2(numbers)[places])
    found += [_derived(left + right) for left, right in combinations(products, 2)]
    return found or [Factor(np.zeros(len(positions), np.int64), 1, np.zeros((0, 1)))]


def guess_factor(guess: Array) -> Factor:
    """A guess of the target at every point, in normal scores, as a factor."""
    levels = np.round(np.clip(guess / _GUESS_SPAN + 0.5, 0.0, 1.0) * (_LEVELS - 1)).astype(np.int64)
    return Factor(levels, _LEVELS, np.linspace(0.0, 1.0, _LEVELS)[None])


def _numbers(known: Sequence[object]) -> Array | None:
    if not all(isinstance(value, (int, float)) for value in known):
        return None
    return np.array(known, np.float64)


def _coordinates(numbers: Array) -> Array:
    if numbers.min() < 0:
        return _scaled(numbers)[None]
    logs = np.log2(numbers if numbers.min() > 0 else numbers + 1)
    rows = [_scaled(logs)]
    if numbers.min() > 0 and (numbers == np.floor(numbers)).all():
        whole = numbers.astype(np.int64)
        twos = np.log2(whole & -whole)
        if not np.array_equal(twos - twos.min(), logs - logs.min()) and twos.max() > twos.min():
            rows.append(_scaled(twos))
    return np.stack(rows)


def _derived(logs: Array) -> Factor:
    known, places = np.unique(np.round(logs, 6), return_inverse=True)
    return Factor(places.astype(np.int64), len(known), _scaled(known)[None], is_derived=True)


def _scaled(row: Array) -> Array:
    spread = float(row.max() - row.min())
    scaled: Array = (row - row.min()) / (spread if spread > 0 else 1.0)
    return scaled
