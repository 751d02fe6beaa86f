"""Searching the schedules of one task on real measurements: what ``tune.py`` and the benchmarks share."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from codegen.gpu_target import GPU_TARGETS, GpuTarget
from codegen.measure.config import MeasureConfig
from codegen.measure.jobs import MeasureJob
from codegen.measure.measurement import Measurement
from codegen.measure.pool import Finalist, MeasurePool
from codegen.measure.verify_pool import VerifyPool
from codegen.ops import Operator, operator_parameters
from codegen.schedule.candidates import Candidates
from codegen.schedule.space import Space
from scripts.options.searches import SearchOption
from scripts.running.display import Ticker, duration, progress, say
from scripts.running.loggers import Logger
from scripts.tuning.outcomes import stop_text, write_history
from search.background import GatedObjective
from search.journal import Journal, open_journal
from search.known import Known
from search.protocols import Model
from search.trials import Trial, TuneConfig
from search.tuner import TuneResult, TuningRun


class Guide(Protocol):
    """What tells models apart that guide a search."""

    def identity(self) -> dict[str, Any]:
        """JSON values that fix all scores, by name."""


@dataclass(frozen=True)
class PoolMeasurer:
    """A measuring pool as the search sees it: candidates of one task in, measurements out.

    ``compiler``, if there is one, compiles all candidates at a time before the first is measured; what it
    finds fault with is not measured.
    """

    pool: MeasurePool
    operator: Operator
    space: Space[Any]
    seed: int = 0
    compiler: VerifyPool | None = None

    def job(self, candidates: Candidates, row: int) -> MeasureJob:
        """What the pool needs to know of one candidate."""
        return self._named_job(self.space.named(candidates, row))

    def measure(self, candidates: Candidates) -> Iterator[Measurement]:
        jobs = [self.job(candidates, row) for row in range(len(candidates))]
        yield from measure_ahead(self.pool, self.compiler, jobs)

    def measure_finalists(
        self, result: TuneResult, num: int, rivals: Sequence[Mapping[str, Any]] = ()
    ) -> list[Finalist]:
        """The ``num`` fastest candidates again, in turn, fastest first; those that failed now come last.

        What was known before the run may be among them. ``rivals`` are candidates by names and values that
        take part as well.
        """
        fastest = result.fastest(num)
        jobs = [self.job(fastest, row) for row in range(len(fastest))]
        jobs += [self._named_job(rival) for rival in rivals]
        finalists = self.pool.remeasure_interleaved(jobs)
        return sorted(finalists, key=lambda f: f.summary.median_s if f.summary else float("inf"))

    def _named_job(self, candidate: Mapping[str, Any]) -> MeasureJob:
        return job_of(self.operator, self.space, candidate, self.seed)


FOUND_BY_COMPILER = ("constraints", "compile")
"""Failures that are there whatever else the machine does."""


def measure_ahead(
    pool: MeasurePool, compiler: VerifyPool | None, jobs: Sequence[MeasureJob]
) -> Iterator[Measurement]:
    """Measure in order what the compiler, if there is one, has compiled before the first is measured.

    What it finds fault with is not measured. What it lost is: that may be the fault of those beside it.
    """
    failures = compiler.verify(jobs) if compiler else [None] * len(jobs)
    for job, failure in zip(jobs, failures, strict=True):
        is_final = failure is not None and failure.kind in FOUND_BY_COMPILER
        yield Measurement((), failure) if is_final else pool.measure_one(job)


def job_of(operator: Operator, space: Space[Any], candidate: Mapping[str, Any], seed: int) -> MeasureJob:
    """A candidate, by names and values, as measuring processes take it."""
    parameters = operator_parameters(operator)
    return MeasureJob(operator.operator_name, parameters, space.target, candidate, seed)


def search_schedules(
    option: SearchOption,
    predictor: Model,
    measurer: PoolMeasurer,
    seed: int,
    journal: Journal | None,
    on_trial: Callable[[Trial], None],
    known: Known | None = None,
) -> TuneResult:
    """Plan, measure and refit until the budget is used up."""
    run = tuning_run(option, option.budget(), predictor, measurer, seed, journal, on_trial, known=known)
    while run.step():
        pass
    return run.result()


def tuning_run(
    option: SearchOption,
    budget: TuneConfig,
    predictor: Model,
    measurer: PoolMeasurer,
    seed: int,
    journal: Journal | None,
    on_trial: Callable[[Trial], None],
    before_refit: Callable[[], None] | None = None,
    known: Known | None = None,
) -> TuningRun:
    """A run that has not begun, to be carried out plan by plan."""
    return TuningRun(
        space=measurer.space,
        searcher=option.searcher(measurer.space, GatedObjective(predictor, measurer.pool.gate)),
        measurer=measurer,
        model=predictor if option.uses_model else None,
        config=budget,
        rng=np.random.default_rng(seed),
        journal=journal,
        on_trial=on_trial,
        gate=measurer.pool.gate,
        known=known,
        before_refit=before_refit,
    )


def journaled_search(
    option: SearchOption,
    predictor: Model,
    measurer: PoolMeasurer,
    identity: Mapping[str, Any],
    folder: Path,
    logger: Logger,
    known: Known | None = None,
) -> TuneResult:
    """As ``search_schedules``, with the seed of the measurer; the folder gets the journal and the history.

    A journal of the same ``identity`` that is there already goes on; ValueError if it is of another.
    """
    with progress("tuning") as tick, open_journal(folder / "journal.jsonl", identity) as journal:
        on_trial = trial_reporter(tick, option.budget().num_trials or 0, logger)
        result = search_schedules(option, predictor, measurer, measurer.seed, journal, on_trial, known)
    write_history(folder / "history.csv", result.history)
    if text := stop_text(result, option.budget()):
        say(text)
    return result


def trial_reporter(tick: Ticker, num_trials: int, logger: Logger) -> Callable[[Trial], None]:
    """Moves the progress bar with each trial and logs the best latency so far."""

    def on_trial(trial: Trial) -> None:
        best_s = trial.best_latency_s
        tick(trial.trial, num_trials, "" if best_s is None else f"best {duration(best_s)}")
        logger.log(trial.trial, {} if best_s is None else {"best_latency_s": best_s})

    return on_trial


def search_identity(
    option: SearchOption, guide: Guide, measurer: PoolMeasurer, measure: MeasureConfig, seed: int
) -> dict[str, Any]:
    """What fixes the sequence of proposals, for the journal; a longer budget may continue a shorter run.

    A checkpoint and a space count by content: what was learnt or tried under others is no part of this run.
    """
    search = asdict(replace(option, trials=1, max_elapsed_s=None))
    for name in ("stop_gain", "gain_window"):  # they end a run, and change none of its proposals
        del search[name]
    settings: dict[str, Any] = {"search": search}
    settings |= {"searcher": type(option).__name__, "measure": asdict(measure), "seed": seed}
    if option.uses_model:
        settings |= guide.identity()
    space = measurer.space
    return {
        "program": measurer.operator.program().hash,
        "target": space.target.fingerprint,
        "space_sha256": space_sha256(space),
        **dict(_flattened(settings, "")),
    }


def space_sha256(space: Space[Any]) -> str:
    """Over the sketches in order: names, names and values of their knobs, what is shared and what allowed."""
    digest = hashlib.sha256()
    for sketch in space.sketches:
        knobs = [[knob.name, list(knob.values)] for knob in sketch.knobs]
        digest.update(json.dumps([sketch.name, knobs, [asdict(t) for t in sketch.tilings]]).encode())
        for group in sketch.groups:
            digest.update(group.rows.tobytes())
    return digest.hexdigest()


def _flattened(settings: Mapping[str, Any], path: str) -> Iterator[tuple[str, Any]]:
    """One entry per value, so that a difference can be named in few words."""
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flattened(value, f"{path}{key}.")
        else:
            yield f"{path}{key}", value


def reproduce_command(job: MeasureJob) -> str:
    """The command line that measures one candidate again on this machine."""
    knobs = ",".join(f"{name}:{value}" for name, value in job.candidate["knobs"].items())
    overrides = [
        f"task={job.operator}",
        *(f"task.{key}={_hydra_value(value)}" for key, value in job.parameters.items()),
        *(f"{name}={value}" for name, value in _target_overrides(job).items()),
        f"sketch={job.candidate['sketch']}",
        f"knobs={{{knobs}}}",
        f"seed={job.seed}",
    ]
    return shlex.join(["python", "scripts/measure.py", *overrides])


def _target_overrides(job: MeasureJob) -> Mapping[str, object]:
    if isinstance(job.target, GpuTarget):
        return gpu_overrides(job.target)
    overrides: dict[str, object] = {
        "target.num_threads": job.target.num_threads,
        "target.vector_width": 32 * job.target.vector_lanes,
    }
    return overrides | ({"target.bf16_dot": "true"} if job.target.bf16_dot else {})


def gpu_overrides(target: GpuTarget) -> Mapping[str, object]:
    """What chooses a GPU on the command line."""
    names = [name for name, known in GPU_TARGETS.items() if known.arch == target.arch]
    return {
        "target": names[0] if names else target.name,
        "target.storage": target.precision.storage,
        "target.dot_input": target.precision.dot_input,
        "target.device": target.device,
    }


def _hydra_value(value: object) -> str:
    return json.dumps(value, separators=(",", ":")).replace('"', "")
