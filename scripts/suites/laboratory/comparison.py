"""Searches compared where the best is known: on recorded spaces, many runs each, by the real tuning loop."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec

import joblib
import numpy as np
from numpy.typing import NDArray

from codegen.measure.cores import usable_cores
from datasets.recorded import RecordedTable
from scripts.running.display import progress, say
from scripts.suites.laboratory.contenders import (
    CONTENDERS,
    PRETRAINED,
    SOURCE_ORDER,
    Ground,
    Trials,
    why_left_out,
)
from scripts.suites.laboratory.jobs import Job, chunks, needs_sources
from scripts.suites.laboratory.peers import PEERS, has_kernel_tuner
from scripts.suites.laboratory.trial_log import TrialLog
from search.scoring import (
    LAST_TRIAL,
    expected_random,
    found_curves,
    random_budget,
    run_scores,
)

Array = NDArray[np.float64]

FLAT_TRIALS, FLAT_SHARE = 50, 1.01
"""A space is flat where random search is this near to the optimum after so many trials: all searches do."""


@dataclass(frozen=True, kw_only=True)
class LaboratoryConfig:
    """Recorded spaces are files of ``folder`` (or of $LOOPRANK_RECORDED) whose names match ``spaces``.

    A pretrained search learns from other devices' records of the same kernel, ``num_source_records`` of each
    at random or all, or from ``source`` alone; ``source_curve`` adds the pretrained annealer with each of
    these numbers of records, as a search of its own. Kernel Tuner's strategies take part where it is
    installed, unless ``peers`` is false; of the searches ``tpe`` is left out by default where Optuna is not.
    ``results`` is a second folder for the tables and the plot.
    """

    folder: str | None = None
    spaces: list[str] = field(default_factory=lambda: ["*"])
    searches: list[str] = field(default_factory=lambda: _installed_searches())
    num_repeats: int = 20
    trials: int = LAST_TRIAL
    source: str | None = None
    num_source_records: int | None = None
    source_curve: list[int] = field(default_factory=list)
    peers: bool = True
    num_processes: int | None = None
    results: str | None = None

    def __post_init__(self) -> None:
        allowed = [*CONTENDERS, SOURCE_ORDER]
        unknown = [name for name in self.searches if name not in allowed]
        if unknown or not self.searches:
            raise ValueError(f"laboratory.searches must be some of {', '.join(allowed)}, got {self.searches}")
        if "tpe" in self.searches and not _has_optuna():
            raise ValueError("laboratory.searches has tpe, which needs Optuna: pip install -e '.[optuna]'")
        if self.num_repeats < 2 or self.trials < 20:
            raise ValueError(
                "laboratory.num_repeats must be at least 2 and laboratory.trials 20, got "
                f"{self.num_repeats} and {self.trials}"
            )
        if self.num_source_records is not None and self.num_source_records < 2:
            raise ValueError(
                f"laboratory.num_source_records must be at least 2, got {self.num_source_records}"
            )
        if any(num < 2 for num in self.source_curve) or len(set(self.source_curve)) < len(self.source_curve):
            raise ValueError(
                f"laboratory.source_curve must have different numbers of at least 2, got {self.source_curve}"
            )
        if self.num_processes is not None and self.num_processes < 1:
            raise ValueError(f"laboratory.num_processes must be at least 1, got {self.num_processes}")


def _has_optuna() -> bool:
    return find_spec("optuna") is not None


def _installed_searches() -> list[str]:
    return [name for name in (*CONTENDERS, SOURCE_ORDER) if name != "tpe" or _has_optuna()]


@dataclass(frozen=True)
class Standing:
    """All runs of one search on one space. ``curves`` (runs, trials) is the best time so far, seconds.

    ``scores`` and ``budget_scores`` (runs,) are mean performances, over trials 10 to 400 and up to where
    random search reaches 95 %; ``elapsed_s`` (trials,) is the mean recorded cost of the trials. The runs of
    a search that draws nothing (``is_deterministic``) are one run repeated.
    """

    space: str
    search: str
    curves: Array
    scores: Array
    budget_scores: Array
    elapsed_s: Array
    optimum_s: float
    is_flat: bool
    is_deterministic: bool = False

    @property
    def score(self) -> float:
        return float(self.scores.mean())


def compare_on(
    grounds: Sequence[Ground], config: LaboratoryConfig, seed: int, log: TrialLog
) -> list[Standing]:
    """Every search on every space, repeated; a pretrained one only where there is something to learn from.

    What the log holds is not run again, and other searches that it holds take part. A search that does not
    suit a space, or has no source there, is named and left out. ValueError if nothing can run.
    """
    reasons = [why_left_out(search, ground) for ground in grounds for search in config.searches]
    unsuited = [reason for reason in reasons if reason is not None]
    if len(unsuited) == len(reasons):
        raise ValueError("; ".join(unsuited))
    for reason in unsuited:
        say(reason)
    chosen = [*config.searches, *(PEERS if config.peers and has_kernel_tuner() else ())]
    jobs = [job for ground in grounds for job in _jobs(ground, chosen, config, seed)]
    jobs += [job for ground in grounds for job in _curve_jobs(ground, config, seed)]
    for sentence in _left_out(grounds, config):
        say(sentence)
    if not jobs:
        raise ValueError(
            f"{', '.join(config.searches)} must have recorded spaces to learn from, and there are none for "
            f"{', '.join(ground.name for ground in grounds)}: add one of the same kernel and knobs, or give "
            "laboratory.source"
        )
    missing = [job for job in jobs if log.find(job.key()) is None]
    num_processes = config.num_processes or usable_cores()
    with progress("searching") as tick, joblib.parallel_config("loky", inner_max_num_threads=1):
        found = joblib.Parallel(num_processes, return_as="generator")(
            joblib.delayed(Job.run)(job) for job in missing
        )
        for done, (job, runs) in enumerate(zip(missing, found), start=1):
            log.add(job.key(), runs)
            tick(done, len(missing), f"{job.label} on {job.ground.name}")
    for ground in grounds:
        for search in (*CONTENDERS, SOURCE_ORDER, *PEERS):
            others = _jobs(ground, [search], config, seed) if search not in chosen else []
            if all(log.find(job.key()) for job in others):
                jobs += others
    return _standings(jobs, log)


def _left_out(grounds: Sequence[Ground], config: LaboratoryConfig) -> Iterator[str]:
    """A sentence for each space on which searches cannot run, and one if Kernel Tuner's cannot."""
    names = [name for name in config.searches if needs_sources(name)]
    names += [f"{PRETRAINED}_{num}" for num in config.source_curve]
    for ground in grounds:
        if names and not ground.sources:
            is_own = config.source == ground.name
            why = "laboratory.source is this very space" if is_own else "no other has its kernel and knobs"
            yield f"{', '.join(names)}: left out on {ground.name}, {why}"
    if config.peers and not has_kernel_tuner():
        yield "Kernel Tuner's strategies are left out: it is not installed (pip install -e '.[peers]')"


def _jobs(ground: Ground, searches: Sequence[str], config: LaboratoryConfig, seed: int) -> list[Job]:
    return [
        Job(ground, search, min(config.trials, len(ground.table)), seed, start, end)
        for search in searches
        if (ground.sources or not needs_sources(search)) and why_left_out(search, ground) is None
        for start, end in chunks(config.num_repeats)
    ]


def _curve_jobs(ground: Ground, config: LaboratoryConfig, seed: int) -> list[Job]:
    """The pretrained annealer with each number of source records."""
    return [
        replace(job, shown=f"{PRETRAINED}_{num}")
        for num in config.source_curve
        for job in _jobs(replace(ground, num_source_records=num), [PRETRAINED], config, seed)
    ]


def standing_of(
    table: RecordedTable, space: str, search: str, runs: Sequence[Trials], num_trials: int
) -> Standing:
    """Scores of the runs over ``num_trials``, the same for all searches: one that ended keeps what it found.

    A space smaller than the budget is judged while random search may miss its best.
    """
    curves = found_curves([run.times_s for run in runs], table.times_s, num_trials)
    budget = min(random_budget(table.times_s), num_trials)
    optimum_s = float(np.nanmin(table.times_s))
    flat_after = min(FLAT_TRIALS, len(table))
    return Standing(
        space=space,
        search=search,
        curves=curves,
        scores=run_scores(curves, table.times_s),
        budget_scores=run_scores(curves, table.times_s, first=1, last=budget),
        elapsed_s=_mean_elapsed([run.elapsed_s for run in runs], num_trials),
        optimum_s=optimum_s,
        is_flat=bool(expected_random(table.times_s, flat_after)[-1] <= FLAT_SHARE * optimum_s),
    )


def _standings(jobs: Sequence[Job], log: TrialLog) -> list[Standing]:
    runs: dict[tuple[str, str], list[Trials]] = {}
    for job in jobs:
        runs.setdefault((job.ground.name, job.label), []).extend(log.find(job.key()) or [])
    tables = {job.ground.name: job.ground.table for job in jobs}
    budgets = {job.ground.name: job.num_trials for job in jobs}
    fixed = {(job.ground.name, job.label) for job in jobs if job.is_deterministic}
    standings = (
        standing_of(tables[space], space, search, found, budgets[space])
        for (space, search), found in runs.items()
    )
    return [replace(each, is_deterministic=(each.space, each.search) in fixed) for each in standings]


def _mean_elapsed(elapsed_s: Sequence[Array], num_trials: int) -> Array:
    started = [each if len(each) else np.zeros(1) for each in elapsed_s]
    padded = [np.pad(each, (0, num_trials - len(each)), mode="edge") for each in started]
    mean: Array = np.mean(padded, axis=0)
    return mean
