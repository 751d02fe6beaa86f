"""All runs of the comparison in the tuner, timed again side by side, and what they leave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from codegen.measure.config import MeasureConfig
from codegen.ops import WORKLOADS
from codegen.target import Target
from datasets.record import canonical_json
from scripts.options.data import DataConfig
from scripts.options.figures import ComparisonConfig
from scripts.options.searches import AnnealerConfig
from scripts.running.display import show_table
from scripts.suites.end_use.contenders import EndUseConfig, end_use_methods
from scripts.suites.end_use.report import (
    draw,
    end_use_metrics,
    speed_rows,
    standing_rows,
    timing_rows,
    trial_rows,
    write_curves,
    write_page,
)
from scripts.suites.end_use.retiming import (
    contending,
    elapsed_seconds,
    mean_latencies,
    retimed_curves,
    scatter,
)
from scripts.suites.end_use.sittings import Contest, Sitting, hold_sittings
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

    ``known`` are good schedules of earlier runs by workload, of this target, which take part in the sittings,
    so that they are among those of which the best is known.
    """
    methods = end_use_methods(config, figure, annealer, data, seed, folder)
    searches = list(searched_workloads(figure, methods, target, measure, folder / "runs"))
    contests = [
        _contest(searched, known.get(searched.workload), config.num_rounds, folder / "retimed")
        for searched in searches
    ]
    sittings = hold_sittings(contests, measure, config.num_sittings)
    runs = [
        _workload_runs(searched, methods, contest, counting)
        for searched, contest, counting in zip(searches, contests, sittings, strict=True)
    ]
    longest = max(method.num_trials for method in methods.values())
    shown = [*(trials for trials in TRIALS_SHOWN if trials < longest), longest]
    found = standings(runs, config.reference, shown)
    tables = {
        "in the tuner": standing_rows(found, config.reference),
        "speeds by workload": speed_rows(runs, shown[0]),
        "trials by workload": trial_rows(runs),
        "best known": timing_rows(runs),
    }
    for title, table in tables.items():
        show_table(f"{title}, on {target.name}", *table)
    write_page(folder / "end_use.md", list(tables.values()), figure.num_seeds)
    write_curves(folder / "end_use.csv", runs)
    draw(folder / "end_use.png", runs, lambda name: WORKLOADS[name].flops)
    return {**end_use_metrics(runs, found), "num_seeds": figure.num_seeds, "num_trials": longest}


def _contest(searched: Searched, known: StoredWinner | None, num_rounds: int, folder: Path) -> Contest:
    """Of what the runs on one workload held for their best, and of the schedule that is known."""
    space = searched.measurer.space
    named = list(contending(searched))
    if not named:
        raise ValueError(f"no trial of {searched.workload} succeeded; {folder.parent / 'runs'} says why")
    if known is not None and known.is_in(space):
        named.append(known.candidate)
    candidates = {canonical_json(each): each for each in named}
    return Contest(searched.workload, searched.measurer.operator, space, candidates, num_rounds, folder)


def _workload_runs(
    searched: Searched, methods: Mapping[str, Method], contest: Contest, sittings: Sequence[Sitting]
) -> WorkloadRuns:
    """The runs on one workload by the times of the sittings."""
    latencies_s = mean_latencies(sittings, contest.candidates)
    return WorkloadRuns(
        searched.workload,
        float(np.nanmin(list(latencies_s.values()))),
        retimed_curves(searched, latencies_s, {name: method.num_trials for name, method in methods.items()}),
        {
            name: elapsed_seconds(results, methods[name].num_trials)
            for name, results in searched.results.items()
        },
        len(sittings),
        max(each.longest_exchange_s for each in sittings),
        scatter(sittings, contest.candidates),
    )
