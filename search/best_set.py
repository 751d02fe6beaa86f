"""The best distinct candidates that a search under a cheap objective has come by."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from codegen.schedule.candidates import Candidates, concatenate
from search.digests import digests, distinct_rows
from search.protocols import Space


def rankable(scores: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Scores as float64 in which everything that is not finite ranks below all that is."""
    wide = np.asarray(scores, dtype=np.float64)
    return np.where(np.isfinite(wide), wide, -np.inf)


class BestSet:
    """The best distinct candidates met so far, best first, at most ``size`` of them."""

    def __init__(self, space: Space, size: int, excluded: NDArray[np.void], empty: Candidates) -> None:
        self._space = space
        self._size = size
        self._excluded = np.sort(digests(excluded))
        self._digests = np.empty(0, np.uint64)
        self.scores = np.empty(0)
        self.candidates = empty

    def merge(self, candidates: Candidates, scores: NDArray[np.float64]) -> bool:
        """Take in what belongs among the best; whether anything did."""
        if len(self.scores) == self._size:
            rows = np.flatnonzero(scores > self.scores[-1])
            if len(rows) == 0:
                return False
            candidates, scores = candidates[rows], scores[rows]
        candidates = self._space.canonical(candidates)
        values = digests(candidates.keys())
        new = distinct_rows(values, self._excluded)
        new = new[~np.isin(values[new], self._digests)]
        if len(new) == 0:
            return False
        all_scores = np.concatenate([self.scores, scores[new]])
        order = np.argsort(-all_scores, kind="stable")[: self._size]
        self.scores = all_scores[order]
        self._digests = np.concatenate([self._digests, values[new]])[order]
        self.candidates = concatenate([self.candidates, candidates[new]])[order]
        return True
