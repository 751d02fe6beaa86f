"""From a clock to repeats, and from repeats to a median with its interval. No state, no input or output."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from codegen.measure.config import MeasureConfig

TimeCalls: TypeAlias = Callable[[int], float]
"""Runs a kernel that many times in a row and returns the seconds all calls took together."""

MIN_REPEATS = 3
MAX_CALLS = 10_000_000


@dataclass(frozen=True)
class Summary:
    """Median of repeated times in seconds, and an interval that covers the true median.

    ``coverage`` is the probability with which it does, for independent repeats: at least the asked
    confidence from six repeats on (at 0.95), less for fewer, 0 for a single one.
    """

    median_s: float
    low_s: float
    high_s: float
    coverage: float
    num_repeats: int


def time_repeats(
    time_calls: TimeCalls, config: MeasureConfig, best_s: float | None = None
) -> tuple[float, ...]:
    """Seconds per call of each repeat, in order.

    A short kernel is called so often per repeat that one lasts ``config.min_repeat_s``; with
    ``config.flush_cache`` a repeat is one call.

    Args:
        time_calls: the kernel under its clock.
        config: numbers of warm-ups and repeats, and limits.
        best_s: fastest call of the same task so far, if known; a kernel ``config.early_stop_factor``
            times slower gets one to three single calls, more only while they fit ``config.budget_s``.
    """
    if best_s is not None:
        slow_times = _time_if_slow(time_calls, config.early_stop_factor * best_s, config.budget_s)
        if slow_times:
            return slow_times
    for _ in range(config.num_warmups):
        time_calls(1)
    min_repeat_s = 0.0 if config.flush_cache else config.min_repeat_s
    num_calls, call_s = calibrate(time_calls, min_repeat_s)
    affordable = int(config.budget_s / max(num_calls * call_s, 1e-9))
    num_repeats = min(config.num_repeats, max(affordable, MIN_REPEATS))
    return tuple(time_calls(num_calls) / num_calls for _ in range(num_repeats))


def calibrate(time_calls: TimeCalls, min_repeat_s: float) -> tuple[int, float]:
    """Number of calls that last ``min_repeat_s`` together, and the seconds one of them took.

    The number grows at least twofold and at most tenfold a step, so a cold first call cannot mislead it.

    Raises:
        RuntimeError: if ten million calls do not take that long.
    """
    num_calls = 1
    while num_calls <= MAX_CALLS:
        elapsed_s = time_calls(num_calls)
        if elapsed_s >= min_repeat_s:
            return num_calls, elapsed_s / num_calls
        wanted = 1.1 * min_repeat_s / elapsed_s if elapsed_s > 0 else 10.0
        num_calls *= max(2, min(10, math.ceil(wanted)))
    raise RuntimeError(f"{MAX_CALLS} calls take less than {min_repeat_s} s: the clock or the kernel is wrong")


def summarise(times_s: Sequence[float], confidence: float = 0.95) -> Summary:
    """Median and its distribution-free interval from order statistics.

    The true median lies between the (k+1)-th smallest and the (k+1)-th largest of n independent
    repeats with probability ``1 - 2 P(Binomial(n, 1/2) <= k)``, whatever their distribution. Taken is
    the largest k that reaches ``confidence``, or the whole range where none does (n < 6 at 0.95).

    >>> summarise([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    Summary(median_s=3.5, low_s=1.0, high_s=6.0, coverage=0.96875, num_repeats=6)
    """
    if not times_s:
        raise ValueError("cannot summarise no times")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, got {confidence}")
    ordered, n = sorted(times_s), len(times_s)
    num_cut = max((k for k in range((n + 1) // 2) if _coverage(n, k) >= confidence), default=0)
    return Summary(
        median_s=statistics.median(ordered),
        low_s=ordered[num_cut],
        high_s=ordered[n - 1 - num_cut],
        coverage=_coverage(n, num_cut),
        num_repeats=n,
    )


def intervals_overlap(left: Summary, right: Summary) -> bool:
    """Whether two medians are tied: their intervals share a point, so neither is shown to be faster."""
    return left.low_s <= right.high_s and right.low_s <= left.high_s


def tied_with_best(summaries: Sequence[Summary]) -> list[bool]:
    """For each, whether it is the one of least median or tied with it."""
    if not summaries:
        return []
    best = min(summaries, key=lambda summary: summary.median_s)
    return [intervals_overlap(best, summary) for summary in summaries]


def _coverage(n: int, k: int) -> float:
    return float(1 - 2 * sum(math.comb(n, i) for i in range(k + 1)) / 2**n) if n > 1 else 0.0


def _time_if_slow(time_calls: TimeCalls, limit_s: float, budget_s: float) -> tuple[float, ...]:
    """Single calls if each is above the limit, else nothing: one slow call may be the machine's fault."""
    times_s: list[float] = []
    while len(times_s) < MIN_REPEATS and sum(times_s) < budget_s:
        times_s.append(time_calls(1))
        if times_s[-1] <= limit_s:
            return ()
    return tuple(times_s)
