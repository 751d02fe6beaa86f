"""The outcome of running one candidate: times, or why there are none."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

FailureKind: TypeAlias = Literal["constraints", "compile", "timeout", "runtime", "correctness"]
"""The terms of the T4 interchange format for tuning results."""

FAILURE_KINDS: tuple[FailureKind, ...] = get_args(FailureKind)


@dataclass(frozen=True)
class Failure:
    """Why a candidate has no times: the kind, the first line of the error, a command that reproduces it."""

    kind: FailureKind
    message: str
    command: str = ""

    def __post_init__(self) -> None:
        if self.kind not in FAILURE_KINDS:
            raise ValueError(f"failure kind must be one of {FAILURE_KINDS}, got {self.kind!r}")


@dataclass(frozen=True)
class Measurement:
    """Seconds of each timed repeat (each the mean over its inner calls), or a failure; never both.

    ``compile_s`` is text to callable, ``total_s`` everything the trial cost, ``reference_s`` the
    reference kernel timed around it (its change from trial to trial is the machine's drift). ``unsteadiness``
    is at most 1 where the machine was as fast as the measuring process had found it to be usually
    (``codegen/measure/steadiness.py``), 0 where nobody looked or knew.
    """

    times_s: tuple[float, ...]
    failure: Failure | None = None
    compile_s: float = 0.0
    total_s: float = 0.0
    reference_s: float = 0.0
    unsteadiness: float = 0.0

    def __post_init__(self) -> None:
        if bool(self.times_s) == (self.failure is not None):
            raise ValueError("a measurement has either times or a failure")
        if any(not 0 < time < float("inf") for time in self.times_s):
            raise ValueError(f"times must be positive and finite, got {self.times_s}")
        if not 0 <= self.unsteadiness < float("inf"):
            raise ValueError(f"unsteadiness must be finite and not negative, got {self.unsteadiness}")

    @property
    def latency_s(self) -> float:
        """Median of the repeats; ValueError for a failure."""
        if self.failure is not None:
            raise ValueError(f"a failed candidate has no latency: {self.failure.kind}")
        return statistics.median(self.times_s)
