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

CountPreemptions: TypeAlias = Callable[[], int]
"""How often threads of this process have lost a core to other work so far."""

MIN_REPEATS = 3
MAX_CALLS = 10_000_000


def undisturbed() -> int:
    """For clocks that nothing can disturb."""
    return 0


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
    time_calls: TimeCalls,
    config: MeasureConfig,
    best_s: float | None = None,
    num_preemptions: CountPreemptions = undisturbed,
) -> tuple[float, ...]:
    """Seconds per call of each repeat, in order.

    A short kernel is called so often per repeat that one lasts ``config.min_repeat_s``; with
    ``config.flush_cache`` a repeat is one call. A repeat in which other work took a core away is made
    again, within three times the budget: when one thread of a parallel kernel loses its core, the
    others wait for milliseconds, and the time says nothing of the kernel. Only if no repeat is left
    alone do the disturbed ones count.

    Args:
        time_calls: the kernel under its clock.
        config: numbers of warm-ups and repeats, and limits.
        best_s: fastest call of the same task so far, if known; a kernel ``config.early_stop_factor``
            times slower gets one to three single calls, more only while they fit ``config.budget_s``.
        num_preemptions: see ``CountPreemptions``.
    """
    clock = _WatchedClock(time_calls, num_preemptions)
    if best_s is not None:
        slow_times = _time_if_slow(clock, config.early_stop_factor * best_s, config.budget_s)
        if slow_times:
            return slow_times
    for _ in range(config.num_warmups):
        time_calls(1)
    num_calls, _ = calibrate(time_calls, 0.0 if config.flush_cache else config.min_repeat_s)
    clean: list[float] = []
    every: list[float] = []
    spent_s = 0.0
    while len(clean) < config.num_repeats and len(every) < 2 * config.num_repeats:
        limit_s = config.budget_s if len(clean) >= MIN_REPEATS else 3 * config.budget_s
        if len(every) >= min(MIN_REPEATS, config.num_repeats) and spent_s >= limit_s:
            break
        elapsed_s, is_clean = clock.time(num_calls)
        spent_s += elapsed_s
        every.append(elapsed_s / num_calls)
        clean += [every[-1]] if is_clean else []
    return tuple(clean or every)


def time_undisturbed(
    time_calls: TimeCalls, num_calls: int, num_preemptions: CountPreemptions, max_tries: int = 3
) -> float:
    """Seconds that the calls take together: of the first try that is left alone, or of the last."""
    clock = _WatchedClock(time_calls, num_preemptions)
    for _ in range(max_tries):
        elapsed_s, is_clean = clock.time(num_calls)
        if is_clean:
            break
    return elapsed_s


def calibrate(time_calls: TimeCalls, min_repeat_s: float) -> tuple[int, float]:
    """Number of calls that last ``min_repeat_s`` together, and the seconds one of them took.

    The number grows at least twofold and at most tenfold a step, and the last one is confirmed, so that
    neither a cold first call nor an interrupted one can mislead it.

    Raises:
        RuntimeError: if ten million calls do not take that long.
    """
    num_calls = 1
    while num_calls <= MAX_CALLS:
        elapsed_s = time_calls(num_calls)
        if elapsed_s >= min_repeat_s:
            elapsed_s = min(elapsed_s, time_calls(num_calls))
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


@dataclass(frozen=True)
class _WatchedClock:
    time_calls: TimeCalls
    num_preemptions: CountPreemptions

    def time(self, num_calls: int) -> tuple[float, bool]:
        """Seconds of all calls, and whether other work left them alone."""
        num_before = self.num_preemptions()
        elapsed_s = self.time_calls(num_calls)
        return elapsed_s, self.num_preemptions() == num_before


def _time_if_slow(clock: _WatchedClock, limit_s: float, budget_s: float) -> tuple[float, ...]:
    """Single calls if each is above the limit by its own fault, else nothing."""
    times_s: list[float] = []
    while len(times_s) < MIN_REPEATS and sum(times_s) < budget_s:
        elapsed_s, is_clean = clock.time(1)
        if elapsed_s <= limit_s or not is_clean:
            return ()
        times_s.append(elapsed_s)
    return tuple(times_s)
