"""Collecting records: plan, measure, store each trial at once, and go on after any interruption."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from codegen.any_target import AnyTarget
from codegen.ir.text import program_text
from codegen.measure.jobs import MeasureJob
from codegen.measure.measurement import Measurement
from codegen.ops import make_operator
from codegen.schedule import build_space
from datasets.plan import (
    CollectConfig,
    History,
    Proposer,
    Round,
    Space,
    extend,
    no_history,
    plain_candidate,
    plan_round,
)
from datasets.record import Cache, Record, Source, candidate_key, utc_now
from datasets.store import RecordStore
from datasets.tasks import Task


class Pool(Protocol):
    """Measures jobs, within time limits of its own."""

    def measure(self, jobs: Sequence[MeasureJob], /) -> Iterator[tuple[int, Measurement]]:
        """Position and measurement of every job, each as soon as it is known."""


@dataclass(frozen=True)
class Workload:
    """A task with the program it computes and the space of its schedules on the target."""

    task: Task
    program_hash: str
    program_text: str
    space: Space


def make_workload(task: Task, target: AnyTarget) -> Workload:
    """A task as this version of the code understands it; ValueError if it is impossible."""
    program = make_operator(task.operator, task.parameters).program()
    return Workload(task, program.hash, program_text(program), build_space(program, target))


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """Under what records are measured, besides the target.

    Timings with another ``compiler`` or ``cache`` are not comparable. ``code_version`` is noted only: what
    a new version changes of a program or its space shows in program hash, sketch or knobs.
    """

    code_version: str
    compiler: str = ""
    cache: Cache = "warm"


def collect(
    workloads: Sequence[Workload],
    pool: Pool,
    store: RecordStore,
    target: AnyTarget,
    config: CollectConfig,
    conditions: Conditions,
    proposer_of: Callable[[Workload], Proposer] | None = None,
) -> Iterator[Record]:
    """Measure ``config.num_trials`` candidates of each workload; yields each record once it is stored.

    Workloads take turns, one round each, so an interrupted collection has records of all of them and
    the two trials of a repeated candidate lie far apart in time. Called again with the same arguments
    it replays its plan on the stored records, and measures and yields only what is missing; records of
    another program, compiler or state of the caches count for nothing. Programs
    that occur under several names are collected under the first. A space with fewer candidates than
    ``num_trials`` ends early. ``proposer_of`` starts the search of a workload; without it, random candidates
    take the place of its share.

    Raises:
        RuntimeError: the pool did not measure every job.
    """
    first = {workload.program_hash: workload for workload in reversed(workloads)}
    distinct = [workload for workload in workloads if first[workload.program_hash] is workload]
    active = [_Collection(workload, store, target, config, conditions, proposer_of) for workload in distinct]
    while active:
        for collection in active:
            yield from collection.run_round(pool)
        active = [collection for collection in active if not collection.is_finished]


class _Collection:
    """One workload on its way through the rounds."""

    def __init__(
        self,
        workload: Workload,
        store: RecordStore,
        target: AnyTarget,
        config: CollectConfig,
        conditions: Conditions,
        proposer_of: Callable[[Workload], Proposer] | None,
    ) -> None:
        self._workload, self._store, self._target = workload, store, target
        self._config, self._conditions, self._proposer_of = config, conditions, proposer_of
        self._history: History = no_history(workload.space)
        self._num_rounds = 0
        self.is_finished = False
        stored = [
            record
            for record in store.records(program_hash=workload.program_hash, target=target)
            if (record.compiler, record.cache) == (conditions.compiler, conditions.cache)
        ]
        ours = [record for record in stored if record.seed == config.seed]
        self._done = {(record.trial, record.candidate_key): record.measurement for record in ours}
        self._known = {record.candidate_key for record in stored} - {key for _, key in self._done}

    @cached_property
    def _proposer(self) -> Proposer | None:
        return self._proposer_of(self._workload) if self._proposer_of else None

    def run_round(self, pool: Pool) -> Iterator[Record]:
        planned = self._plan()
        space, count = self._workload.space, len(planned.sources)
        named = [plain_candidate(space, planned.candidates, row) for row in range(count)]
        latency_s = np.full(len(named), np.nan)
        pending = []
        for row, candidate in enumerate(named):
            done = self._done.get((len(self._history) + row, candidate_key(**candidate)))
            if done is None:
                pending.append(row)
            elif done.failure is None:
                latency_s[row] = done.latency_s
        num_measured = 0
        for position, measurement in pool.measure([self._job(named[row]) for row in pending]):
            row = pending[position]
            record = self._record(named[row], planned.sources[row], len(self._history) + row, measurement)
            self._store.append([record])
            if measurement.failure is None:
                latency_s[row] = measurement.latency_s
            num_measured += 1
            yield record
        if num_measured != len(pending):
            raise RuntimeError(f"the pool measured {num_measured} of {len(pending)} jobs")
        self._history = extend(self._history, planned, latency_s)
        self.is_finished = not named or len(self._history) >= self._config.num_trials

    def _plan(self) -> Round:
        rng = np.random.default_rng(
            [self._config.seed, int(self._workload.program_hash, 16), self._num_rounds]
        )
        self._num_rounds += 1
        return plan_round(self._workload.space, self._history, self._known, rng, self._config, self._proposer)

    def _job(self, candidate: dict[str, Any]) -> MeasureJob:
        task = self._workload.task
        return MeasureJob(task.operator, task.parameters, self._target, candidate, self._config.seed)

    def _record(
        self, candidate: dict[str, Any], source: Source, trial: int, measurement: Measurement
    ) -> Record:
        task = self._workload.task
        return Record(
            task=task.name,
            operator=task.operator,
            parameters=task.parameters,
            program_hash=self._workload.program_hash,
            program_text=self._workload.program_text,
            target=self._target,
            sketch=candidate["sketch"],
            knobs=candidate["knobs"],
            measurement=measurement,
            source=source,
            seed=self._config.seed,
            trial=trial,
            measured_at=utc_now(),
            code_version=self._conditions.code_version,
            compiler=self._conditions.compiler,
            cache=self._conditions.cache,
        )
