"""What became of trials and searches: for people, ``metrics.json`` and ``history.csv``."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from codegen.measure.measurement import Measurement
from codegen.measure.timing import summarise
from scripts.running.display import duration
from scripts.running.outputs import Metrics, write_text
from search.trials import StopReason, Trial, TuneConfig
from search.tuner import TuneResult

HISTORY_COLUMNS = ("trial", "elapsed_s", "latency_s", "best_latency_s", "status", "arm")


def time_metrics(*results: TuneResult) -> Metrics:
    """Where the seconds of searches went; the rest of ``search_s`` is checking and timing."""
    return {
        "search_s": sum(result.elapsed_s for result in results),
        "planning_s": sum(result.planning_s for result in results),
        "compile_s": sum(each.compile_s for result in results for each in result.measurements),
    }


def time_text(*results: TuneResult) -> str:
    """As ``time_metrics``, for a sentence."""
    search_s, planning_s, compile_s = (float(spent) for spent in time_metrics(*results).values())
    num_trials = sum(len(result.history) for result in results)
    planning, compiling = planning_s / max(search_s, 1e-9), compile_s / max(search_s, 1e-9)
    return f"{num_trials} trials in {duration(search_s)}: {planning:.0%} planning, {compiling:.0%} compiling"


def stop_text(result: TuneResult, budget: TuneConfig) -> str:
    """That a run ended before its budget, for a sentence; empty unless ``stop_gain`` ended it."""
    if result.stop_reason != "gain" or budget.stop_gain is None:
        return ""
    of = f" of {budget.num_trials}" if budget.num_trials is not None else ""
    return f"stopped early, after {len(result.history)}{of} trials: {_little_gain(budget)}"


def list_stop_text(reason: StopReason, early: Sequence[str], budget: TuneConfig) -> str:
    """Why a list of tasks ended, for a sentence, and which of them ended early; empty if trials ended it."""
    texts = (
        [f"the {duration(budget.max_elapsed_s)} were used up"]
        if budget.max_elapsed_s and reason == "seconds"
        else []
    )
    texts += [f"stopped early, {', '.join(early)}: {_little_gain(budget)}"] if early else []
    return "; ".join(texts)


def _little_gain(budget: TuneConfig) -> str:
    return (
        f"going by the last {budget.gain_window}, the next plan should save less than {budget.stop_gain:.3g} "
        "of the best latency (search.stop_gain)"
    )


def write_history(path: Path, history: Sequence[Trial]) -> None:
    """One row per trial; a latency is empty where there is none."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HISTORY_COLUMNS)
    for trial in history:
        row = (getattr(trial, column) for column in HISTORY_COLUMNS)
        writer.writerow("" if value is None else value for value in row)
    write_text(path, text.getvalue())


def outcome_text(measurement: Measurement) -> str:
    """What became of a measurement, for a sentence."""
    if measurement.failure is not None:
        return f"{measurement.failure.kind} failure: {measurement.failure.message}"
    summary = summarise(measurement.times_s)
    return (
        f"{duration(summary.median_s)} (median of {summary.num_repeats}; the true median lies between "
        f"{duration(summary.low_s)} and {duration(summary.high_s)} with probability {summary.coverage:.3f})"
    )


def measurement_metrics(measurement: Measurement) -> Metrics:
    """What became of a measurement, flat: its times, or kind and message of its failure."""
    spent = {"compile_s": measurement.compile_s, "total_s": measurement.total_s}
    if measurement.failure is not None:
        return {**spent, "status": measurement.failure.kind, "message": measurement.failure.message}
    summary = summarise(measurement.times_s)
    return {
        **spent,
        "latency_s": summary.median_s,
        "latency_low_s": summary.low_s,
        "latency_high_s": summary.high_s,
    }
