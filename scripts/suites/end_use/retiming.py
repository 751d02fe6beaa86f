"""What each run would have delivered after each trial, by a second timing of what it held for its best."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import chi2

from datasets.record import canonical_json
from scripts.suites.end_use.sittings import Sitting
from scripts.suites.search_efficiency.curves import Curves
from scripts.suites.search_efficiency.runs import Searched
from search.curves import best_so_far, stack_curves
from search.tuner import TuneResult

CONTENDING = 1.5
"""What took longer than so many times the best trial of all runs is not timed again."""


def incumbents(result: TuneResult) -> Sequence[int | None]:
    """The row of the fastest so far by the run's own measurements; None while nothing has succeeded."""
    rows: list[int | None] = []
    best_s, best = np.inf, None
    for row, trial in enumerate(result.history):
        if trial.latency_s is not None and trial.latency_s < best_s:
            best_s, best = trial.latency_s, row
        rows.append(best)
    return rows


def contending(searched: Searched) -> Iterator[Mapping[str, Any]]:
    """What any run had as its fastest at any time, but for what is far from the best trial of all."""
    results = [result for runs in searched.results.values() for result in runs]
    best_s = min((t.latency_s for r in results for t in r.history if t.latency_s is not None), default=np.inf)
    for result in results:
        for row in dict.fromkeys(row for row in incumbents(result) if row is not None):
            if result.measurements[row].latency_s <= CONTENDING * best_s:
                yield searched.measurer.space.named(result.candidates, row)


def mean_latencies(sittings: Sequence[Sitting], candidates: Collection[str]) -> dict[str, float]:
    """Seconds by candidate, the geometric mean over the sittings; NaN for what failed in all of them.

    A sitting counts by how its times lie to their median, so that one in which a candidate failed leaves that
    candidate's mean where it is.
    """
    logs = np.log(_times(sittings, candidates))
    levels = np.nanmedian(logs, axis=1, keepdims=True)
    relative = np.ma.masked_invalid(logs - levels).mean(axis=0).filled(np.nan)
    return dict(zip(candidates, np.exp(levels.mean() + relative).tolist()))


def scatter(sittings: Sequence[Sitting], candidates: Collection[str]) -> float:
    """Standard deviation of a time between sittings, relative: by the median of its squares over candidates.

    Without what slows all candidates of a sitting alike; NaN for a single sitting, or for fewer than three
    candidates that never failed.
    """
    logs = np.log(_times(sittings, candidates))
    logs = logs[:, ~np.isnan(logs).any(axis=0)]
    num_free = len(sittings) - 1
    if num_free < 1 or logs.shape[1] < 3:
        return float("nan")
    variances = (logs - np.median(logs, axis=1, keepdims=True)).var(axis=0, ddof=1)
    # The median of variances of so few times lies below the variance that they are of.
    return float(np.sqrt(np.median(variances) * num_free / chi2.ppf(0.5, num_free)))


def retimed_curves(
    searched: Searched, latencies_s: Mapping[str, float], num_trials: Mapping[str, int]
) -> dict[str, Curves]:
    """By method, shape (runs, trials): the best time of what had been the fastest up to each trial.

    As ``tune.py`` chooses between finalists when it ends. What was not timed again has the time of its trial.
    NaN while nothing has succeeded; a run that ended early stays with what it had, and of one whose journal
    is of a larger budget the first trials count.
    """
    return {
        name: stack_curves([_delivered_s(searched, run, latencies_s) for run in results], num_trials[name])
        for name, results in searched.results.items()
    }


def elapsed_seconds(results: Sequence[TuneResult], num_trials: int) -> Curves:
    """Seconds of tuning at the end of each trial, shape (runs, trials); an early end counts for the rest."""
    rows = np.zeros((len(results), num_trials))
    for run, result in enumerate(results):
        shown = result.history[:num_trials]
        rows[run, : len(shown)] = [trial.elapsed_s for trial in shown]
    return np.maximum.accumulate(rows, axis=1)


def _times(sittings: Sequence[Sitting], candidates: Collection[str]) -> Curves:
    """Shape (sittings, candidates); NaN for what failed."""
    return np.array([[each.latencies_s.get(key, np.nan) for key in candidates] for each in sittings])


def _delivered_s(searched: Searched, result: TuneResult, latencies_s: Mapping[str, float]) -> Curves:
    """Of one run, shape (trials,)."""
    shown, by_row = incumbents(result), dict[int, float]()
    for row in {row for row in shown if row is not None}:
        named: Mapping[str, Any] = searched.measurer.space.named(result.candidates, row)
        by_row[row] = latencies_s.get(canonical_json(named), result.measurements[row].latency_s)
    return best_so_far([None if row is None else by_row[row] for row in shown])
