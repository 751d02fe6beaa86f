"""All runs of the comparison in the tuner, timed again side by side, and what they leave."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from codegen.measure.config import MeasureConfig
from codegen.ops import WORKLOADS
from codegen.target import Target
from scripts.options.data import DataConfig
from scripts.options.figures import ComparisonConfig
from scripts.options.searches import AnnealerConfig
from scripts.running.display import show_table
from scripts.suites.end_use.contenders import EndUseConfig, end_use_methods
from scripts.suites.end_use.report import (
    draw,
    end_use_metrics,
    standing_rows,
    workload_rows,
    write_curves,
    write_page,
)
from scripts.suites.end_use.retiming import (
    elapsed_seconds,
    key_of,
    mean_latencies,
    retimed_curves,
    sittings_of,
)
from scripts.suites.end_use.standings import WorkloadRuns, standings
from scripts.suites.search_efficiency.runs import Method, Searched, searched_workloads
from scripts.tuning.stored_winners import StoredWinner

TRIALS_SHOWN = (4, 16, 64)
"""Speeds are told after so many trials, and after all."""


def end_use_suite(
    config: EndUseConfig,
    figure: ComparisonConfig,
    annealer: AnnealerConfig,
    data: DataConfig,
    target: Target,
    measure: MeasureConfig,
    seed: int,
    known: Mapping[str, StoredWinner],
    folder: Path,
) -> dict[str, float | int | str]:
    """Compare; what ``folder`` holds is not made again.

    ``known`` are good schedules of earlier runs by workload, of this target, which take part in the second
    timing, so that the best known time is no worse than theirs.
    """
    methods = end_use_methods(config, figure, annealer, data, seed, folder)
    runs = [
        workload_runs(searched, methods, known.get(searched.workload), config, folder)
        for searched in searched_workloads(figure, methods, target, measure, folder / "runs")
    ]
    longest = max(method.num_trials for method in methods.values())
    shown = [*(trials for trials in TRIALS_SHOWN if trials < longest), longest]
    found = standings(runs, config.reference, shown)
    tables = [standing_rows(found, config.reference), workload_rows(runs)]
    for title, table in zip(("in the tuner", "by workload"), tables, strict=True):
        show_table(f"{title}, on {target.name}", *table)
    write_page(folder / "end_use.md", tables, figure.num_seeds)
    write_curves(folder / "end_use.csv", runs)
    draw(folder / "end_use.png", runs, lambda name: WORKLOADS[name].flops)
    return {**end_use_metrics(runs, found), "num_seeds": figure.num_seeds, "num_trials": longest}


def workload_runs(
    searched: Searched,
    methods: Mapping[str, Method],
    known: StoredWinner | None,
    config: EndUseConfig,
    folder: Path,
) -> WorkloadRuns:
    """The runs on one workload with their schedules timed again."""
    rivals: list[Mapping[str, Any]] = []
    if known is not None and known.is_in(searched.measurer.space):
        rivals = [known.candidate]
    path = folder / "retimed" / f"{searched.workload}.json"
    sittings = sittings_of(searched, rivals, path, config.num_sittings, config.num_rounds)
    latencies_s = mean_latencies(sittings)
    curves = retimed_curves(searched, latencies_s, {n: m.num_trials for n, m in methods.items()})
    best_s = [curve[-1] for each in curves.values() for curve in each]
    best_s += [latencies_s[key_of(rival)] for rival in rivals if key_of(rival) in latencies_s]
    if np.isnan(best_s).all():
        raise ValueError(f"no schedule of {searched.workload} could be measured; {folder / 'runs'} says why")
    elapsed_s = {
        n: elapsed_seconds(results, methods[n].num_trials) for n, results in searched.results.items()
    }
    return WorkloadRuns(
        searched.workload,
        float(np.nanmin(best_s)),
        curves,
        elapsed_s,
        [s for sitting in sittings for s in sitting.exchange_s],
    )
