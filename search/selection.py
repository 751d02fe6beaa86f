"""From a long list of promising candidates to a batch worth measuring together."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from codegen.schedule.candidates import Candidates


def select_diverse(
    candidates: Candidates, scores: NDArray[np.floating[Any]], num: int, coverage_weight: float
) -> NDArray[np.int64]:
    """Row numbers of ``num`` candidates (all, if fewer) that are good and unlike each other, best first.

    Greedily maximises ``sum of scores + coverage_weight * sum over components j of |union of values of j|``,
    the submodular objective of arXiv:1805.08166 section 3.3, where a component is the sketch or one knob of
    one sketch. Ours standardises the scores within the list, so one weight serves any model. Scores
    that are not finite count as worse than all others. Ties go to the earlier row.
    """
    quality = _standardise(scores)
    values = _component_values(candidates)
    is_covered = np.zeros(int(values.max(initial=-1)) + 1, np.bool_)
    is_open = np.ones(len(candidates), np.bool_)
    picks = np.empty(min(num, len(candidates)), np.int64)
    for place in range(len(picks)):
        gains = quality + coverage_weight * (~is_covered[values]).sum(axis=1)
        picks[place] = best = int(np.argmax(np.where(is_open, gains, -np.inf)))
        is_open[best] = False
        is_covered[values[best]] = True
    return picks


def _standardise(scores: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Mean 0, deviation 1 over the finite ones; the rest lie far below the worst of them, yet finite."""
    finite = np.isfinite(scores)
    if not finite.any():
        return np.zeros(len(scores))
    known = scores[finite].astype(np.float64)
    deviation = float(known.std())
    standard = np.zeros(len(scores))
    standard[finite] = (known - known.mean()) / deviation if deviation > 0 else 0.0
    standard[~finite] = standard[finite].min() - 1e6
    return standard


def _component_values(candidates: Candidates) -> NDArray[np.int64]:
    """Shape (N, 1 + knobs): one dense number for each value of each component that occurs."""
    sketches = np.unique(candidates.sketches, return_inverse=True)[1].astype(np.int64)
    columns = [sketches]
    offset = int(sketches.max(initial=-1)) + 1
    for position in candidates.positions.T:
        values = np.unique(sketches * (int(position.max(initial=0)) + 1) + position, return_inverse=True)[1]
        columns.append(values + offset)
        offset += int(values.max(initial=-1)) + 1
    return np.stack(columns, axis=1)
