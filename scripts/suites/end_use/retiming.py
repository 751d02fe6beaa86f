"""What each run would have delivered after each trial, by a second timing of what it held for its best.

Of hundreds of schedules the one with the shortest time is one that was lucky in its timing. So what some
sittings choose, the others judge.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import chi2

from datasets.record import canonical_json
from scripts.suites.end_use.sittings import Sitting
from scripts.suites.search_efficiency.curves import Curves
from scripts.suites.search_efficiency.runs import Searched
from search.curves import stack_curves
from search.tuner import TuneResult

CONTENDING = 1.5
"""What took longer than so many times the best trial of all runs is not timed again."""


def key_of(candidate: Mapping[str, Any]) -> str:
    """Equal for candidates of the same sketch and knobs."""
    return canonical_json(candidate)


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


@dataclass(frozen=True)
class Judgement:
    """Seconds by candidate: those to choose by, and those that the chosen count with; NaN for what failed."""

    chosen_by_s: Mapping[str, float]
    counted_s: Mapping[str, float]

    def best_s(self) -> float:
        """Of what was chosen among all; NaN if there is nothing to choose from."""
        sound = [key for key, seconds in self.chosen_by_s.items() if not np.isnan(seconds)]
        best = min(sound, key=self.chosen_by_s.__getitem__, default=None)
        return float("nan") if best is None else self.counted_s[best]


def judgements(sittings: Sequence[Sitting], candidates: Collection[str]) -> list[Judgement]:
    """One per sitting, which judges what the mean of the others chooses; a single sitting does both.

    A candidate that failed in any of them is not chosen, as its mean would be over sittings of other speeds.
    """
    times_s = _times(sittings, candidates)
    times_s[:, np.isnan(times_s).any(axis=0)] = np.nan
    others_s = (times_s.sum(axis=0) - times_s) / (len(sittings) - 1) if len(sittings) > 1 else times_s
    return [
        Judgement(dict(zip(candidates, chosen_by_s)), dict(zip(candidates, counted_s)))
        for chosen_by_s, counted_s in zip(others_s.tolist(), times_s.tolist())
    ]


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
    searched: Searched, judged: Sequence[Judgement], num_trials: Mapping[str, int]
) -> dict[str, Curves]:
    """By method, shape (runs, trials): the time of the best of what had been the fastest up to each trial.

    As ``tune.py`` chooses between finalists when it ends; the mean over the judgements, which may rise where
    what the others chose is no better. What was not timed again has the time of its trial. NaN while nothing
    has succeeded; a run that ended early stays with what it had, and of one whose journal is of a larger
    budget the first trials count.
    """
    return {
        name: stack_curves([_delivered_s(searched, result, judged) for result in results], num_trials[name])
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


def _delivered_s(searched: Searched, result: TuneResult, judged: Sequence[Judgement]) -> Curves:
    """Of one run, shape (trials,)."""
    named, shown = searched.measurer.space.named, incumbents(result)
    held = {row: key_of(named(result.candidates, row)) for row in dict.fromkeys(shown) if row is not None}

    def seconds(latencies_s: Mapping[str, float]) -> Curves:
        by_row = {row: latencies_s.get(key, result.measurements[row].latency_s) for row, key in held.items()}
        return np.array([np.nan if row is None else by_row[row] for row in shown])

    delivered_s = np.empty((len(judged), len(shown)))
    for number, each in enumerate(judged):
        chosen_by_s = seconds(each.chosen_by_s)
        is_best = chosen_by_s == np.fmin.accumulate(chosen_by_s)
        chosen = np.maximum.accumulate(np.where(is_best, np.arange(len(shown)), 0))
        delivered_s[number] = seconds(each.counted_s)[chosen]
    mean_s: Curves = delivered_s.mean(axis=0)
    return mean_s
