"""What is known of a space before a run: trials of the same task that were measured earlier."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codegen.schedule.candidates import Candidates
from search.protocols import Space


@dataclass(frozen=True, eq=False)
class Known:
    """Outcomes of N distinct canonical candidates; ``latencies_s`` is NaN where they failed, shape (N,)."""

    candidates: Candidates
    latencies_s: NDArray[np.float64]

    def __post_init__(self) -> None:
        if len(self.candidates) != len(self.latencies_s):
            raise ValueError(f"{len(self.candidates)} candidates but {len(self.latencies_s)} latencies")
        if len(np.unique(self.candidates.keys())) < len(self.candidates):
            raise ValueError("a known candidate occurs twice")

    def __len__(self) -> int:
        return len(self.latencies_s)

    @property
    def failed(self) -> NDArray[np.bool_]:
        """Shape (N,)."""
        return np.isnan(self.latencies_s)

    @property
    def best_latency_s(self) -> float | None:
        """None if all failed, or nothing is known."""
        return None if self.failed.all() else float(np.nanmin(self.latencies_s))


def nothing_known(space: Space) -> Known:
    """What most runs start from."""
    return Known(space.enumerate(1)[:0], np.zeros(0))
