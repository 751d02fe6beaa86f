"""A recorded space in place of a machine: measuring is looking up, the clock shows what it cost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codegen.measure.measurement import Failure, FailureKind, Measurement
from codegen.schedule.candidates import Candidates
from search.table_space import TableSpace


@dataclass
class Replay:
    """Times and costs by row of the space: ``times_s`` (N,) is NaN where ``failures`` names one.

    A failure costs a trial and, as every trial, ``costs_s`` of it. ``elapsed_s`` is the sum so far.
    """

    space: TableSpace
    times_s: NDArray[np.float64]
    failures: Sequence[FailureKind | None]
    costs_s: NDArray[np.float64]
    elapsed_s: float = 0.0

    def __post_init__(self) -> None:
        lengths = (len(self.times_s), len(self.failures), len(self.costs_s))
        if set(lengths) != {len(self.space)}:
            raise ValueError(
                f"{len(self.space)} points need as many times, failures and costs, got {lengths}"
            )

    def clock(self) -> float:
        """Seconds of tuning that the trials so far took when they were recorded."""
        return self.elapsed_s

    def measure(self, candidates: Candidates) -> Iterator[Measurement]:
        for row in self.space.rows(candidates).tolist():
            self.elapsed_s += float(self.costs_s[row])
            kind = self.failures[row]
            if kind is None:
                yield Measurement((float(self.times_s[row]),))
            else:
                yield Measurement((), Failure(kind, "failed when it was recorded"))
