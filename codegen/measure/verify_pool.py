"""Verifying candidates in several processes at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from types import TracebackType

from codegen.measure.config import MeasureConfig
from codegen.measure.jobs import MeasureJob
from codegen.measure.measurement import Failure
from codegen.measure.pool import MeasurePool


class VerifyPool:
    """As many measuring processes as there are workers, each reused until it is lost; none of them times.

    Args:
        config: limits of time and memory for one candidate.
        reproduce: the command line that measures a job again, for the failures.
        workbench: ``module:function`` of the workbench that builds and checks.
        num_workers: processes at a time; they are started when they are first needed.
        search_path: folders to import the workbench from, besides the project.
        environment: variables that the processes get besides those of this one.

    Use it as a context manager.
    """

    def __init__(
        self,
        config: MeasureConfig,
        reproduce: Callable[[MeasureJob], str],
        workbench: str,
        num_workers: int,
        search_path: tuple[str, ...] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        if num_workers < 1:
            raise ValueError(f"num_workers must be positive, got {num_workers}")
        self._make_pool: Callable[[], MeasurePool] = partial(
            MeasurePool, config, reproduce, workbench, search_path, environment
        )
        self._threads = ThreadPoolExecutor(num_workers, thread_name_prefix="verify")
        self._local = threading.local()
        self._pools = ExitStack()

    def __enter__(self) -> VerifyPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._threads.shutdown(cancel_futures=True)
        self._pools.close()

    def submit(self, job: MeasureJob) -> Future[Failure | None]:
        """What ``MeasurePool.verify`` will have said of the job."""
        return self._threads.submit(self._verify, job)

    def verify(self, jobs: Sequence[MeasureJob]) -> list[Failure | None]:
        """Of each job in order, as ``MeasurePool.verify``; ValueError as there."""
        return [future.result() for future in [self.submit(job) for job in jobs]]

    def _verify(self, job: MeasureJob) -> Failure | None:
        """Runs in a thread of the pool, which has a process of its own."""
        if not hasattr(self._local, "pool"):
            self._local.pool = self._pools.enter_context(self._make_pool())
        pool: MeasurePool = self._local.pool
        return pool.verify(job)
