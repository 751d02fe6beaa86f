"""What a piece of work took, by the clock and of the processors."""

from __future__ import annotations

import time
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Effort:
    """``wall_s`` is by the clock; ``cpu_s`` is the time that processors spent on it, all threads together.

    Other work on the machine lengthens the first and hardly changes the second, which may be the greater one.
    """

    wall_s: float
    cpu_s: float


@dataclass(frozen=True)
class Stopwatch:
    """Runs from the moment it is made; work in other processes does not count as ``cpu_s``."""

    start_s: float = field(default_factory=time.perf_counter)
    start_cpu_s: float = field(default_factory=time.process_time)

    def elapsed(self) -> Effort:
        """Since the start."""
        return Effort(time.perf_counter() - self.start_s, time.process_time() - self.start_cpu_s)
