"""What each run would have delivered after each trial, by a second timing of what it held for its best.

Of hundreds of schedules the one with the shortest time is one that was lucky in its timing. So what some
sittings choose, the others judge.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scripts.suites.end_use.sittings import Sitting, key_of
from scripts.suites.search_efficiency.curves import Curves
from scripts.suites.search_efficiency.runs import Searched
from search.tuner import TuneResult

CONTENDING = 1.5
"""What took longer than so many times the best trial of all runs is not timed again."""

Incumbents = Sequence[int | None]
"""Of one run: after each trial, the row of the fastest so far by its own measurements."""


def incumbents(result: TuneResult) -> Incumbents:
    """What the run would have delivered after each trial; None while nothing has succeeded."""
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
    """Seconds by candidate: those to choose by, and those that what was chosen counts with."""

    chosen_by_s: Mapping[str, float]
    counted_s: Mapping[str, float]

    def best_s(self) -> float:
        """Of what was chosen among all; NaN if there is nothing."""
        if not self.chosen_by_s:
            return float("nan")
        return self.counted_s[min(self.chosen_by_s, key=self.chosen_by_s.__getitem__)]


def judgements(sittings: Sequence[Sitting]) -> list[Judgement]:
    """One per sitting, which judges what the mean of the others chooses; a single sitting does both.

    A candidate that failed in the judging sitting counts with its mean over the others.
    """
    if len(sittings) == 1:
        return [Judgement(sittings[0].latencies_s, sittings[0].latencies_s)]
    others = [
        mean_latencies([*sittings[:number], *sittings[number + 1 :]]) for number in range(len(sittings))
    ]
    return [
        Judgement(chosen_by_s, {**chosen_by_s, **sitting.latencies_s})
        for sitting, chosen_by_s in zip(sittings, others, strict=True)
    ]


def mean_latencies(sittings: Sequence[Sitting]) -> dict[str, float]:
    """Seconds by candidate, the mean over the sittings in which it ran."""
    keys = dict.fromkeys(key for each in sittings for key in each.latencies_s)
    return {
        key: float(np.mean([each.latencies_s[key] for each in sittings if key in each.latencies_s]))
        for key in keys
    }


def scatter(sittings: Sequence[Sitting]) -> float:
    """Of a time between sittings, relative: the median over candidates of the deviation of its logarithm.

    Without what slows all candidates of a sitting alike; NaN for a single sitting.
    """
    if len(sittings) < 2:
        return float("nan")
    everywhere = [key for key in sittings[0].latencies_s if all(key in each.latencies_s for each in sittings)]
    logs = np.log([[each.latencies_s[key] for key in everywhere] for each in sittings])
    if logs.size == 0:
        return float("nan")
    relative = logs - np.median(logs, axis=1, keepdims=True)
    return float(np.median(relative.std(axis=0, ddof=1)))


def retimed_curves(
    searched: Searched, judged: Sequence[Judgement], num_trials: Mapping[str, int]
) -> dict[str, Curves]:
    """By method, shape (runs, trials): the time of the best of what had been the fastest up to each trial.

    As ``tune.py`` chooses between finalists when it ends; the mean over the judgements. What was not timed
    again has the time of its trial. NaN while nothing has succeeded; a run that ended early stays with what
    it had, and of one whose journal is of a larger budget the first trials count.
    """
    curves = {}
    for name, results in searched.results.items():
        rows = np.full((len(results), num_trials[name]), np.nan)
        for run, result in enumerate(results):
            delivered_s = _delivered_s(searched, result, incumbents(result)[: num_trials[name]], judged)
            rows[run, : len(delivered_s)] = delivered_s
            rows[run, len(delivered_s) :] = delivered_s[-1:]
        curves[name] = rows
    return curves


def _delivered_s(
    searched: Searched, result: TuneResult, shown: Incumbents, judged: Sequence[Judgement]
) -> Curves:
    """Of the first trials of one run, shape (trials,)."""
    named = searched.measurer.space.named
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


def elapsed_seconds(results: Sequence[TuneResult], num_trials: int) -> Curves:
    """Seconds of tuning at the end of each trial, shape (runs, trials); an early end counts for the rest."""
    rows = np.zeros((len(results), num_trials))
    for run, result in enumerate(results):
        shown = result.history[:num_trials]
        rows[run, : len(shown)] = [trial.elapsed_s for trial in shown]
    return np.maximum.accumulate(rows, axis=1)
