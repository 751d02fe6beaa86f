"""The schedules that runs would have delivered, timed again side by side.

Runs of a comparison take the better part of an hour, in which a machine's speed changes; what a run measured
tells how the search went on, not how its finds compare with those of another run.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from codegen.measure.exchange import ExchangeMeter
from scripts.running.outputs import write_text
from scripts.suites.search_efficiency.curves import Curves
from scripts.suites.search_efficiency.runs import Searched
from scripts.tuning.measured_search import job_of
from search.tuner import TuneResult

CONTENDING = 1.5
"""What took longer than so many times the best trial of all runs is not timed again."""


@dataclass(frozen=True)
class Sitting:
    """Seconds by candidate (``key_of``), taken in turn in one run; what failed is left out.

    ``exchange_s`` is what ``ExchangeMeter`` said before and after; None where it had no answer.
    """

    latencies_s: Mapping[str, float]
    exchange_s: tuple[float | None, float | None]


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


def sittings_of(
    searched: Searched, known: Sequence[Mapping[str, Any]], path: Path, num_sittings: int, num_rounds: int
) -> list[Sitting]:
    """Time all contending incumbents and the candidates that are ``known``, the median of ``num_rounds``.

    ``path`` keeps the sittings; what it has of the same candidates counts, and is not done again. Sittings
    that are asked for later, by another run of the command, find the machine in another state.
    """
    space = searched.measurer.space
    candidates = {key_of(named): named for named in (*known, *_contending(searched))}
    wanted = {"num_rounds": num_rounds, "candidates": sorted(candidates)}
    sittings = _read(path, wanted)
    jobs = [job_of(searched.measurer.operator, space, named, 0) for named in candidates.values()]
    meter = ExchangeMeter(space.target)
    while len(sittings) < num_sittings:
        before_s = meter.exchange_s()
        finalists = searched.measurer.pool.remeasure_interleaved(jobs, num_rounds)
        summaries = zip(candidates, (finalist.summary for finalist in finalists), strict=True)
        latencies_s = {key: summary.median_s for key, summary in summaries if summary is not None}
        sittings.append(Sitting(latencies_s, (before_s, meter.exchange_s())))
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = {**wanted, "sittings": [asdict(sitting) for sitting in sittings]}
        write_text(path, json.dumps(kept, indent=1) + "\n")
    return sittings[:num_sittings]


def mean_latencies(sittings: Sequence[Sitting]) -> dict[str, float]:
    """Seconds by candidate, the mean over the sittings in which it ran."""
    keys = dict.fromkeys(key for each in sittings for key in each.latencies_s)
    return {
        key: float(np.mean([each.latencies_s[key] for each in sittings if key in each.latencies_s]))
        for key in keys
    }


def _contending(searched: Searched) -> Iterator[Mapping[str, Any]]:
    """What any run had as its fastest at any time, but for what is far from the best trial of all."""
    results = [result for runs in searched.results.values() for result in runs]
    best_s = min((t.latency_s for r in results for t in r.history if t.latency_s is not None), default=np.inf)
    for result in results:
        for row in dict.fromkeys(row for row in incumbents(result) if row is not None):
            if result.measurements[row].latency_s <= CONTENDING * best_s:
                yield searched.measurer.space.named(result.candidates, row)


def retimed_curves(
    searched: Searched, latencies_s: Mapping[str, float], num_trials: Mapping[str, int]
) -> dict[str, Curves]:
    """By method, shape (runs, trials): the best time of what had been the fastest up to each trial.

    As ``tune.py`` chooses between finalists when it ends. What was not timed again has the time of its trial.
    NaN while nothing has succeeded; a run that ended early stays with what it had, and of one whose journal
    is of a larger budget the first trials count.
    """
    curves = {}
    for name, results in searched.results.items():
        rows = np.full((len(results), num_trials[name]), np.nan)
        for run, result in enumerate(results):
            shown = incumbents(result)[: num_trials[name]]
            times_s = [_latency_s(searched, result, row, latencies_s) for row in shown]
            rows[run, : len(times_s)] = times_s
        curves[name] = np.fmin.accumulate(rows, axis=1)
    return curves


def elapsed_seconds(results: Sequence[TuneResult], num_trials: int) -> Curves:
    """Seconds of tuning at the end of each trial, shape (runs, trials); an early end counts for the rest."""
    rows = np.zeros((len(results), num_trials))
    for run, result in enumerate(results):
        shown = result.history[:num_trials]
        rows[run, : len(shown)] = [trial.elapsed_s for trial in shown]
    return np.maximum.accumulate(rows, axis=1)


def key_of(candidate: Mapping[str, Any]) -> str:
    """Equal for candidates of the same sketch and knobs."""
    return json.dumps(candidate, sort_keys=True, separators=(",", ":"))


def _latency_s(
    searched: Searched, result: TuneResult, row: int | None, latencies_s: Mapping[str, float]
) -> float:
    if row is None:
        return float("nan")
    key = key_of(searched.measurer.space.named(result.candidates, row))
    return latencies_s.get(key, float(result.measurements[row].latency_s))


def _read(path: Path, wanted: Mapping[str, Any]) -> list[Sitting]:
    """None of them if there is no such file, or one of other candidates."""
    try:
        value = json.loads(path.read_text())
        if any(value[name] != wanted[name] for name in wanted):
            return []
        sittings = []
        for each in value["sittings"]:
            before_s, after_s = (None if s is None else float(s) for s in each["exchange_s"])
            latencies_s = {str(key): float(seconds) for key, seconds in each["latencies_s"].items()}
            sittings.append(Sitting(latencies_s, (before_s, after_s)))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []
    return sittings
