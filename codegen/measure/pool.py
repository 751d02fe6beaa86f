"""Measuring candidates in isolation: what crashes, hangs or eats memory costs one trial and is named."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from types import TracebackType

from codegen.measure.channel import Message
from codegen.measure.config import MeasureConfig
from codegen.measure.gate import Gate
from codegen.measure.jobs import MeasureJob, job_to_json, measurement_from_json, readings_from_json
from codegen.measure.measurement import Failure, FailureKind, Measurement
from codegen.measure.process import LostWorkerError, WorkerProcess, WorkerSetup
from codegen.measure.steadiness import Reading
from codegen.measure.timing import Summary, summarise, tied_with_best
from codegen.target import Target

WORKBENCH = "codegen.measure.workbench:make_workbench"
"""Lowers with ``codegen.schedule``, compiles with ``codegen.llvm``, checks against ``codegen.ops``."""

IDLE_PHASES = ("preparing", "probing", "waiting")
"""Phases in which nothing of a candidate runs."""


@dataclass(frozen=True)
class Finalist:
    """A candidate measured again beside its rivals; ``summary`` is None if it failed.

    ``is_tied`` holds for the fastest one and for all whose interval overlaps its interval.
    """

    job: MeasureJob
    measurement: Measurement
    summary: Summary | None
    is_tied: bool


class MeasurePool:
    """Measures jobs one after another in a process that is reused until it is lost.

    There is one process, because timing a parallel kernel takes every core. It builds and runs in
    turn, and waits while the caller uses a result, so nothing of ours disturbs a timing. Another thread of
    the caller may work while the process builds, if it stops at ``gate``.

    Args:
        config: limits and repeats.
        reproduce: the command line that measures a job again, for the failures.
        workbench: ``module:function`` of a workbench, for tests and other backends.
        search_path: folders to import the workbench from, besides the project.
        environment: variables that the process gets besides those of this one.

    Use it as a context manager, from one thread.
    """

    def __init__(
        self,
        config: MeasureConfig,
        reproduce: Callable[[MeasureJob], str],
        workbench: str = WORKBENCH,
        search_path: tuple[str, ...] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._setup = WorkerSetup(config, workbench, search_path, environment or {})
        self._reproduce = reproduce
        self.gate = Gate()
        self._worker: WorkerProcess | None = None
        self._best_s: dict[tuple[str, str, str, int], float] = {}
        self._readings: dict[str, list[Reading]] = {}

    def __enter__(self) -> MeasurePool:
        self._running_worker()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._discard_worker()

    @property
    def process_id(self) -> int:
        """Of the measuring process, which is started if there is none."""
        return self._running_worker().process_id

    def readings(self, target: Target) -> Sequence[Reading]:
        """How the machine was before the last trials on a target, for a ``Watch`` of the caller's own.

        The oldest comes first; none where nobody looks. They stay when the pool is closed, and go to the
        process that replaces a lost one.
        """
        return self._readings.get(target.fingerprint, [])

    def measure(self, jobs: Sequence[MeasureJob]) -> Iterator[tuple[int, Measurement]]:
        """Position and measurement of each job, in order; a job starts when its result is asked for.

        Raises:
            ValueError: a job's operator or parameters are impossible.
        """
        for position, job in enumerate(jobs):
            yield position, self.measure_one(job)

    def measure_one(self, job: MeasureJob) -> Measurement:
        """As ``measure``, for one job. A lost process is replaced before this returns, if it can be."""
        start_s = time.perf_counter()
        [measurement] = self._ask([job], self._best_s.get(job.task_key), num_rounds=None)
        if measurement.failure is None:
            best_s = self._best_s.get(job.task_key, measurement.latency_s)
            self._best_s[job.task_key] = min(best_s, measurement.latency_s)
        with suppress(RuntimeError):  # said by the next call, which needs the process
            self._running_worker()
        return replace(measurement, total_s=time.perf_counter() - start_s)

    def verify(self, job: MeasureJob) -> Failure | None:
        """Build and check a candidate without timing it; None if its output is right.

        Raises:
            ValueError: the job's operator or parameters are impossible.
        """
        try:
            answer = self._answer([job], None, None, only_check=True)
        except LostWorkerError as error:
            return self._lost(job, error).failure
        if answer["event"] == "refusal":
            return self._read([job], answer)[0].failure
        failure = answer["failure"]
        return None if failure is None else replace(Failure(**failure), command=self._reproduce(job))

    def remeasure_interleaved(self, jobs: Sequence[MeasureJob], num_rounds: int = 20) -> list[Finalist]:
        """Measure candidates of one task again, in turn, each once a round; results in the order given.

        One that crashes or hangs is set aside with its failure, and the others start over. A process that
        is lost while none of them runs is not known to be the fault of one: all start over once, and if that
        happens again, each is measured alone, so that one that damages its process harms no other.

        Raises:
            ValueError: the jobs belong to several tasks, or ``num_rounds`` is not positive.
        """
        if num_rounds < 1:
            raise ValueError(f"num_rounds must be positive, got {num_rounds}")
        if len({job.task_key for job in jobs}) > 1:
            raise ValueError("finalists must share operator, parameters, target and seed")
        measurements: dict[int, Measurement] = {}
        has_restarted = False
        while len(measurements) < len(jobs):
            remaining = [position for position in range(len(jobs)) if position not in measurements]
            try:
                results = self._ask_unguarded([jobs[position] for position in remaining], None, num_rounds)
                measurements.update(zip(remaining, results))
            except LostWorkerError as error:
                if error.phase not in IDLE_PHASES:
                    lost = remaining[error.position]
                    measurements[lost] = self._lost(jobs[lost], error)
                elif has_restarted:
                    alone = {each: self._ask([jobs[each]], None, num_rounds)[0] for each in remaining}
                    measurements.update(alone)
                else:
                    has_restarted = True
        return _rank(jobs, [measurements[position] for position in range(len(jobs))])

    def _ask(
        self, jobs: Sequence[MeasureJob], best_s: float | None, num_rounds: int | None
    ) -> list[Measurement]:
        try:
            return self._ask_unguarded(jobs, best_s, num_rounds)
        except LostWorkerError as error:
            return [self._lost(job, error) for job in jobs]

    def _ask_unguarded(
        self, jobs: Sequence[MeasureJob], best_s: float | None, num_rounds: int | None
    ) -> list[Measurement]:
        return self._read(jobs, self._answer(jobs, best_s, num_rounds))

    def _answer(
        self,
        jobs: Sequence[MeasureJob],
        best_s: float | None,
        num_rounds: int | None,
        *,
        only_check: bool = False,
    ) -> Message:
        worker = self._running_worker()
        try:
            answer = worker.ask([job_to_json(job) for job in jobs], best_s, num_rounds, only_check=only_check)
        except BaseException:
            # Lost, or interrupted and about to send a result that nobody waits for.
            self._discard_worker()
            raise
        if answer["is_exhausted"]:
            # After a failed allocation nobody knows what state the process is in.
            self._discard_worker()
        return answer

    def _read(self, jobs: Sequence[MeasureJob], answer: Message) -> list[Measurement]:
        if answer["event"] == "refusal":
            if answer["is_mistake"]:
                raise ValueError(answer["message"])
            return [self._failed(job, "runtime", f"task not prepared: {answer['message']}") for job in jobs]
        self._readings[jobs[0].target.fingerprint] = readings_from_json(answer["readings"])
        measurements = [measurement_from_json(fields) for fields in answer["measurements"]]
        return [self._with_command(job, measurement) for job, measurement in zip(jobs, measurements)]

    def _with_command(self, job: MeasureJob, measurement: Measurement) -> Measurement:
        if measurement.failure is None:
            return measurement
        return replace(measurement, failure=replace(measurement.failure, command=self._reproduce(job)))

    def _lost(self, job: MeasureJob, error: LostWorkerError) -> Measurement:
        if error.is_timeout:
            return self._failed(job, "timeout", str(error))
        return self._failed(job, "compile" if error.phase == "building" else "runtime", str(error))

    def _failed(self, job: MeasureJob, kind: FailureKind, message: str) -> Measurement:
        return Measurement((), Failure(kind, message, self._reproduce(job)))

    def _running_worker(self) -> WorkerProcess:
        if self._worker is None:
            self._worker = WorkerProcess(replace(self._setup, readings=dict(self._readings)), self.gate)
        return self._worker

    def _discard_worker(self) -> None:
        if self._worker is not None:
            self._worker.close()
            self._worker = None


def _rank(jobs: Sequence[MeasureJob], measurements: Sequence[Measurement]) -> list[Finalist]:
    summaries = [None if m.failure else summarise(m.times_s) for m in measurements]
    ranked = iter(tied_with_best([summary for summary in summaries if summary is not None]))
    return [
        Finalist(job, measurement, summary, summary is not None and next(ranked))
        for job, measurement, summary in zip(jobs, measurements, summaries)
    ]
