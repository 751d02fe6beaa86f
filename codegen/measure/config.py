"""How a candidate is measured: limits, repeats and what surrounds them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class MeasureConfig:
    """Settings of one measuring process.

    The defaults spend about 25 ms of timing on a kernel of 1 ms. Slow kernels are repeated until
    ``budget_s`` is used up (three times at least), and one that is ``early_stop_factor`` times slower
    than the best of its task so far stops after one to three calls.

    ``num_warmups`` are calls besides those of the check and the calibration, which warm up as well.
    ``timeout_s`` is the wall-clock limit of building, checking and timing one candidate;
    ``prepare_timeout_s`` that of what its task needs once (inputs and reference output).
    ``memory_bytes`` bounds the private writable memory of the process, everything included.
    ``flush_cache`` times single calls after evicting the caches, instead of warm batches of calls.
    The reference kernel runs before every ``reference_every``-th trial; 0 leaves it out. Before and after a
    trial, or a round beside libraries, the machine is looked at (``codegen/measure/steadiness.py``): a wait
    for it to be as fast as usual takes up to ``steady_wait_s``, which the time limits leave out, and all
    waits and repetitions add about ``steady_share`` to the time of the process, besides half a second; 0
    seconds leave out looking.
    """

    num_warmups: int = 0
    num_repeats: int = 10
    min_repeat_s: float = 0.002
    budget_s: float = 0.05
    early_stop_factor: float = 5.0
    timeout_s: float = 10.0
    prepare_timeout_s: float = 120.0
    memory_bytes: int = 4 * 2**30
    flush_cache: bool = False
    reference_every: int = 1
    steady_wait_s: float = 5.0
    steady_share: float = 0.25

    def __post_init__(self) -> None:
        for name in ("num_warmups", "reference_every", "steady_wait_s", "steady_share"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        positive = ("num_repeats", "min_repeat_s", "budget_s", "timeout_s", "prepare_timeout_s")
        for name in positive:
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        if not self.early_stop_factor > 1:
            raise ValueError(f"early_stop_factor must be above 1, got {self.early_stop_factor}")
        if self.memory_bytes < 2**28:
            raise ValueError(f"memory_bytes must be at least {2**28} (256 MiB), got {self.memory_bytes}")
