"""Every point in the order of the space: the ground truth of small spaces."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from codegen.schedule.candidates import Candidates
from search.digests import digests, keep_new
from search.protocols import SearcherState, Space


class ExhaustiveSearch:
    """Walks the first ``limit`` points of the space, each kernel once."""

    def __init__(self, space: Space, limit: int = 1_000_000) -> None:
        if limit < 1:
            raise ValueError(f"limit must be positive, got {limit}")
        self._all = keep_new(space.canonical(space.enumerate(limit)), np.empty(0, np.uint64))

    def propose(self, num: int, measured: NDArray[np.void], rng: np.random.Generator) -> Candidates:
        return keep_new(self._all, np.sort(digests(measured)))[:num]

    def observe(
        self, candidates: Candidates, latencies_s: NDArray[np.float64], failed: NDArray[np.bool_]
    ) -> None:
        """Outcomes change nothing."""

    def state(self) -> SearcherState:
        return {}

    def restore(self, state: SearcherState) -> None:
        """What was measured says where the walk stands."""
