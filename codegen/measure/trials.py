"""What a measuring process does with candidates: build, check, time, and turn every error into a failure."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from codegen.gpu_target import GpuTarget
from codegen.measure.config import MeasureConfig
from codegen.measure.drift import MachineProbe, num_preemptions
from codegen.measure.jobs import ConstraintError, LostDeviceError, MeasureJob, Trial, Workbench
from codegen.measure.measurement import Failure, FailureKind, Measurement
from codegen.measure.steadiness import Reading, Watch
from codegen.measure.timing import CountPreemptions, TimeCalls, calibrate, time_repeats, time_undisturbed

Phase: TypeAlias = Literal["preparing", "building", "probing", "waiting", "checking", "timing"]

MAX_MESSAGE_LENGTH = 500

MAX_ATTEMPTS = 4
"""How often a trial is timed until the machine stays steady meanwhile."""


class TrialError(Exception):
    """A trial that failed for a known reason."""

    def __init__(self, kind: FailureKind, message: str) -> None:
        super().__init__(message)
        self.failure = Failure(kind, message)


@dataclass
class Bench:
    """What lives as long as the process.

    ``report_phase(phase, position)`` tells the owner what begins with which job, so that it can name it
    if this process does not survive. ``is_exhausted``: an allocation has failed or the device is lost, so
    the process should be replaced. ``readings`` by fingerprint of a target are what an earlier process
    remembered of the machine.
    """

    config: MeasureConfig
    workbench: Workbench
    report_phase: Callable[[Phase, int], None]
    is_exhausted: bool = False
    num_trials: int = 0
    probes: dict[str, MachineProbe] = field(default_factory=dict)
    watches: dict[str, Watch] = field(default_factory=dict)
    readings: Mapping[str, Sequence[Reading]] = field(default_factory=dict)

    def probe(self, job: MeasureJob) -> MachineProbe:
        """The probe of the job's target."""
        key = job.target.fingerprint
        if key not in self.probes:
            self.probes[key] = MachineProbe(job.cpu)
        return self.probes[key]

    def watch(self, job: MeasureJob) -> Watch:
        """Over the cores of the job's target."""
        key = job.target.fingerprint
        if key not in self.watches:
            read, config = self.probe(job).steadiness.read, self.config
            remembered = self.readings.get(key, ())
            self.watches[key] = Watch(read, config.steady_wait_s, config.steady_share, remembered)
        return self.watches[key]

    def remembered(self, job: MeasureJob) -> Sequence[Reading]:
        """Readings of the cores of the job's target, in this process and before."""
        key = job.target.fingerprint
        return self.watches[key].remembered if key in self.watches else self.readings.get(key, ())


@contextmanager
def phase(bench: Bench, name: Phase, position: int, kind: FailureKind) -> Iterator[None]:
    """Announce a phase and raise whatever goes wrong in it as ``TrialError`` of that kind.

    This is the border of the process: generated code and its generator may raise anything, and each is
    data about one candidate, not a reason to stop.
    """
    bench.report_phase(name, position)
    try:
        yield
    except TrialError:
        raise
    except ConstraintError as error:
        raise TrialError("constraints", _first_line(error)) from error
    except LostDeviceError as error:
        bench.is_exhausted = True
        raise TrialError("runtime", _first_line(error)) from error
    except MemoryError as error:
        bench.is_exhausted = True
        message = f"out of memory: the limit is {bench.config.memory_bytes} bytes (while {name})"
        raise TrialError("runtime", message) from error
    except Exception as error:
        raise TrialError(kind, described(error)) from error


def prepare_task(bench: Bench, job: MeasureJob) -> None:
    """Have the workbench get ready; TrialError if the task cannot be measured."""
    with phase(bench, "preparing", 0, "runtime"):
        bench.workbench.prepare(job)


def run_trial(bench: Bench, job: MeasureJob, best_s: float | None) -> Measurement:
    """Build, check and time one candidate whose task is prepared; ``best_s`` as in ``time_repeats``."""
    bench.num_trials += 1
    compile_s = reference_s = 0.0
    try:
        with phase(bench, "building", 0, "compile"):
            trial = bench.workbench.build(job)
            compile_s = trial.compile_s
        every = bench.config.reference_every
        if every and (bench.num_trials - 1) % every == 0:
            # Here and not after the check: threads of a parallel kernel spin for a while after it.
            reference_s = _reference_s(bench, job)
        unsteadiness = _look(bench, job, and_wait=True)
        _check(bench, trial, 0)
        times_s, unsteadiness = _steady_times(bench, job, trial, best_s, unsteadiness)
    except TrialError as error:
        return Measurement((), error.failure, compile_s=compile_s, reference_s=reference_s)
    return Measurement(times_s, compile_s=compile_s, reference_s=reference_s, unsteadiness=unsteadiness)


def check_candidate(bench: Bench, job: MeasureJob) -> Failure | None:
    """Build and check one candidate whose task is prepared, without timing it: None if it is right."""
    try:
        with phase(bench, "building", 0, "compile"):
            trial = bench.workbench.build(job)
        _check(bench, trial, 0)
    except TrialError as error:
        return error.failure
    return None


def run_interleaved(bench: Bench, jobs: Sequence[MeasureJob], num_rounds: int) -> list[Measurement]:
    """Measure candidates of one task in turn, each once a round, the rounds in alternating order.

    Slow changes of the machine then hit all of them alike, and none always runs in another's wake.
    """
    entrants = [_entrant(bench, job, position) for position, job in enumerate(jobs)]
    reference_s = 0.0
    if bench.config.reference_every and jobs:
        with suppress(TrialError):  # the finalists' times stand without it
            reference_s = _reference_s(bench, jobs[0])
    looks: list[float] = []
    for number in range(num_rounds):
        looks.append(_look(bench, jobs[0], and_wait=True) if jobs else 0.0)
        for position in range(len(jobs))[:: 1 if number % 2 == 0 else -1]:
            entrant = entrants[position]
            if isinstance(entrant, Failure):
                continue
            try:
                with phase(bench, "timing", position, "runtime"):
                    entrant.run_round()
            except TrialError as error:
                entrants[position] = error.failure
    return [
        Measurement((), entrant, reference_s=reference_s)
        if isinstance(entrant, Failure)
        else Measurement(
            tuple(entrant.times_s),
            compile_s=entrant.compile_s,
            reference_s=reference_s,
            unsteadiness=statistics.median(looks),
        )
        for entrant in entrants
    ]


@dataclass
class _Entrant:
    clock: _Clock
    num_calls: int
    compile_s: float
    times_s: list[float] = field(default_factory=list)

    def run_round(self) -> None:
        self.clock.time_calls(1)  # brings its own data back into the caches
        elapsed_s = time_undisturbed(self.clock.time_calls, self.num_calls, self.clock.num_preemptions)
        self.times_s.append(elapsed_s / self.num_calls)


def _entrant(bench: Bench, job: MeasureJob, position: int) -> _Entrant | Failure:
    try:
        with phase(bench, "building", position, "compile"):
            trial = bench.workbench.build(job)
        _check(bench, trial, position)
        with phase(bench, "timing", position, "runtime"):
            clock = _clock(bench, job, trial)
            num_calls = (
                1 if bench.config.flush_cache else calibrate(clock.time_calls, bench.config.min_repeat_s)[0]
            )
    except TrialError as error:
        return error.failure
    return _Entrant(clock, num_calls, trial.compile_s)


def _reference_s(bench: Bench, job: MeasureJob) -> float:
    with phase(bench, "probing", 0, "runtime"):
        return bench.probe(job).reference_s()


def _look(bench: Bench, job: MeasureJob, *, and_wait: bool) -> float:
    """How unsteady the machine is, in the end; 0 where nobody looks, or the look fails: times stand without.

    The owner hears of it, as of all that runs, so that nothing of its own runs meanwhile.
    """
    if bench.config.steady_wait_s == 0 or isinstance(job.target, GpuTarget):
        return 0.0
    unsteadiness = 0.0
    with suppress(TrialError), phase(bench, "waiting", 0, "runtime"):
        watch = bench.watch(job)
        unsteadiness = watch.wait() if and_wait else watch.look()
    return unsteadiness


def _steady_times(
    bench: Bench, job: MeasureJob, trial: Trial, best_s: float | None, unsteadiness: float
) -> tuple[tuple[float, ...], float]:
    """Times of the attempt that the machine was steadiest around, and how unsteady it was.

    ``unsteadiness`` is that before the first one. There is another one only after a disturbed one that left
    enough of the time limit and of what may be spent on waiting.
    """
    attempts: list[tuple[float, tuple[float, ...]]] = []
    first_s = time.perf_counter()
    while True:
        start_s = time.perf_counter()
        times_s = _times(bench, job, trial, best_s)
        spent_s = time.perf_counter() - start_s
        unsteadiness = max(unsteadiness, _look(bench, job, and_wait=False))
        attempts.append((unsteadiness, times_s))
        is_late = time.perf_counter() - first_s > bench.config.timeout_s / 4
        is_last = is_late or unsteadiness <= 1 or len(attempts) == MAX_ATTEMPTS
        if is_last or not bench.watch(job).affords(spent_s):
            return min(attempts)[::-1]
        bench.watch(job).charge(spent_s)
        unsteadiness = _look(bench, job, and_wait=True)


def _times(bench: Bench, job: MeasureJob, trial: Trial, best_s: float | None) -> tuple[float, ...]:
    with phase(bench, "timing", 0, "runtime"):
        clock = _clock(bench, job, trial)
        return time_repeats(clock.time_calls, bench.config, best_s, clock.num_preemptions)


def _check(bench: Bench, trial: Trial, position: int) -> None:
    with phase(bench, "checking", position, "runtime"):
        complaint = trial.check()
        if complaint is not None:
            raise TrialError("correctness", complaint[:MAX_MESSAGE_LENGTH])


def _clock(bench: Bench, job: MeasureJob, trial: Trial) -> _Clock:
    """The trial's clock, or one that empties the caches before every call if the settings ask for it."""
    if not bench.config.flush_cache:
        return _Clock(trial.time_calls, num_preemptions)
    cold = _ColdTrial(trial, bench.probe(job))
    return _Clock(cold.time_calls, lambda: cold.num_preemptions)


@dataclass(frozen=True)
class _Clock:
    time_calls: TimeCalls
    num_preemptions: CountPreemptions


@dataclass
class _ColdTrial:
    """Counts preemptions in its calls alone: flushing takes the cores by itself."""

    trial: Trial
    probe: MachineProbe
    num_preemptions: int = 0

    def time_calls(self, num_calls: int) -> float:
        total_s = 0.0
        for _ in range(num_calls):
            self.probe.flush()
            num_before = num_preemptions()
            total_s += self.trial.time_calls(1)
            self.num_preemptions += num_preemptions() - num_before
        return total_s


def described(error: BaseException) -> str:
    """The kind of an error and the first line that says what it is about."""
    return f"{type(error).__name__}: {_first_line(error)}"


def _first_line(error: BaseException) -> str:
    # Where Triton shows the line of code before it says what is wrong with it, the latter is there alone.
    text = getattr(error, "error_message", None) or str(error)
    lines = (line.strip() for line in text.splitlines())
    return next((line for line in lines if line), "no message")[:MAX_MESSAGE_LENGTH]
