"""Compiling GPU candidates in several processes at a time, each result once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, as_completed
from dataclasses import dataclass, replace
from types import TracebackType

from codegen.gpu_device import gpu_device
from codegen.measure.config import MeasureConfig
from codegen.measure.jobs import MeasureJob
from codegen.measure.measurement import Failure, FailureKind
from codegen.measure.verify_pool import VerifyPool
from codegen.measure.workbench import MAX_SPACES, RecentTasks
from codegen.measure.workbench_compile import CACHE_VARIABLE, WORKBENCH, gpu_space
from codegen.schedule.errors import ScheduleError, require
from codegen.triton.candidate import candidate_kernels
from codegen.triton.compile import Resources, num_resident
from codegen.triton.compile_cache import CompileCache
from codegen.triton.limits import Limits


@dataclass(frozen=True)
class Compilation:
    """What became of a candidate: the resources of its kernels in order, or a failure.

    A candidate that compiles and yet does not fit the target's device is a ``constraints`` failure that
    has resources. ``is_cached``: nothing had to be compiled.
    """

    resources: tuple[Resources, ...]
    failure: Failure | None = None
    is_cached: bool = False


class CompilePool:
    """Compiles candidates in processes that are reused until they are lost, and remembers the results.

    Args:
        config: limits of time and memory for one candidate.
        reproduce: the command line that compiles a job again, for the failures.
        cache: where results are looked for first, and kept.
        num_workers: processes at a time.
        checks_limits: whether what ``Limits`` expects not to fit is refused without compiling it.

    Use it as a context manager.
    """

    def __init__(
        self,
        config: MeasureConfig,
        reproduce: Callable[[MeasureJob], str],
        cache: CompileCache,
        num_workers: int = 2,
        *,
        checks_limits: bool = True,
    ) -> None:
        environment = {CACHE_VARIABLE: str(cache.folder)}
        self._compilers = VerifyPool(config, reproduce, WORKBENCH, num_workers, environment=environment)
        self._reproduce = reproduce
        self._cache = cache
        self._checks_limits = checks_limits
        self._limits: RecentTasks[Limits] = RecentTasks(lambda job: Limits(gpu_space(job)), MAX_SPACES)

    def __enter__(self) -> CompilePool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._compilers.__exit__(kind, error, trace)

    def compile(self, jobs: Sequence[MeasureJob]) -> Iterator[tuple[int, Compilation]]:
        """Position and result of each job, cached ones first, then as they finish.

        Raises:
            ValueError: a job's operator or parameters are impossible, or its target is a CPU.
        """
        pending: dict[Future[Failure | None], tuple[int, tuple[str, ...]]] = {}
        for position, job in enumerate(jobs):
            try:
                keys = self._keys(job)
                known = self._known(job, keys)
                if known is None:
                    self._check_limits(job)
            except ScheduleError as error:
                yield position, Compilation((), self._failure(job, "constraints", str(error)))
                continue
            if known is not None:
                yield position, replace(known, is_cached=True)
            else:
                pending[self._compilers.submit(job)] = (position, keys)
        for future in as_completed(pending):
            position, keys = pending.pop(future)
            yield position, self._finished(jobs[position], keys, future.result())

    def limits_of(self, job: MeasureJob) -> Limits:
        """The limits of a job's space."""
        return self._limits.of(job)

    def _keys(self, job: MeasureJob) -> tuple[str, ...]:
        """Of the candidate's kernels in the cache; ScheduleError if it has none."""
        kernels = candidate_kernels(self.limits_of(job).space, job.candidate)
        return tuple(self._cache.key(kernel, job.gpu) for kernel in kernels)

    def _check_limits(self, job: MeasureJob) -> None:
        """ScheduleError if the candidate does not fit, and that is not to be left to the compiler."""
        if self._checks_limits:
            limits = self.limits_of(job)
            complaint = limits.complaint(limits.space.decode([job.candidate]), 0)
            require(complaint is None, str(complaint))

    def _finished(self, job: MeasureJob, keys: Sequence[str], failure: Failure | None) -> Compilation:
        known = self._known(job, keys)
        if known is not None:
            return known
        if failure is None:
            return Compilation((), self._failure(job, "compile", f"no result in {self._cache.folder}"))
        return Compilation((), failure)

    def _known(self, job: MeasureJob, keys: Sequence[str]) -> Compilation | None:
        """What the cache tells of all kernels, if it is enough."""
        found = []
        for key in keys:
            result = self._cache.get(key)
            if isinstance(result, str):
                return Compilation((), self._failure(job, "compile", result))
            if result is None:
                return None
            found.append(result)
        return Compilation(tuple(found), self._misfit(job, found))

    def _misfit(self, job: MeasureJob, found: Sequence[Resources]) -> Failure | None:
        device = gpu_device(job.gpu.device)
        for one in found:
            if not num_resident(one, device):
                message = (
                    f"{one.num_threads} threads, {one.shared_bytes} bytes of shared memory and "
                    f"{one.num_registers} registers a thread are more than an SM of {device.name} has"
                )
                return self._failure(job, "constraints", message)
        return None

    def _failure(self, job: MeasureJob, kind: FailureKind, message: str) -> Failure:
        return Failure(kind, message, self._reproduce(job))
