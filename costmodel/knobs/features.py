"""Points of a knob space as rows of numbers in [0, 1]."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def knob_features(values: Sequence[Sequence[object]], positions: NDArray[np.int64]) -> Array:
    """Shape (points, features) for knobs with these values and points given by positions of values.

    A knob with several numbers is their logarithm (to base 2, of 1 + value where a value is 0); one with two
    values is 0 or 1; words get a column each. A knob without a choice is left out.
    """
    columns = []
    for column, known in enumerate(values):
        places = positions[:, column]
        if len(known) < 2:
            continue
        if len(known) == 2:
            columns.append(places.astype(np.float64))
        elif all(isinstance(value, (int, float)) for value in known):
            columns.append(_logarithms(np.array(known, np.float64))[places])
        else:
            columns += [(places == place).astype(np.float64) for place in range(len(known))]
    return _scaled(np.stack(columns, axis=1)) if columns else np.zeros((len(positions), 1))


def _logarithms(values: Array) -> Array:
    if values.min() < 0:
        return values
    return np.log2(values if values.min() > 0 else values + 1)


def _scaled(rows: Array) -> Array:
    low, high = rows.min(axis=0), rows.max(axis=0)
    scaled: Array = (rows - low) / np.where(high > low, high - low, 1.0)
    return scaled
