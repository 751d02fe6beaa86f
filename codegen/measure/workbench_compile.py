"""The workbench that compiles kernels for GPUs which need not be there, and keeps the results in a cache."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

from codegen.gpu_target import GpuTarget
from codegen.measure.config import MeasureConfig
from codegen.measure.jobs import MeasureJob, Trial
from codegen.measure.trials import described
from codegen.measure.workbench import MAX_SPACES, RecentTasks, illegal_is_refused
from codegen.ops import make_operator
from codegen.schedule import Space, build_space
from codegen.triton.candidate import candidate_kernels
from codegen.triton.compile import compile_kernel, use_compiler
from codegen.triton.compile_cache import CompileCache

WORKBENCH = "codegen.measure.workbench_compile:make_workbench"

CACHE_VARIABLE = "LOOPRANK_COMPILE_CACHE"
"""Names the folder of the cache to the compiling process."""


class CompileWorkbench:
    """Compiles what the cache does not know; the results are read from there."""

    def __init__(self, cache: CompileCache) -> None:
        use_compiler()
        self._cache = cache
        self._spaces: RecentTasks[Space[GpuTarget]] = RecentTasks(gpu_space, MAX_SPACES)

    def prepare(self, job: MeasureJob) -> None:
        """See ``Workbench``."""
        self._spaces.of(job)

    def build(self, job: MeasureJob) -> Trial:
        """See ``Workbench``; an error of the compiler is kept as well."""
        start_s = time.perf_counter()
        with illegal_is_refused():
            kernels = candidate_kernels(self._spaces.of(job), job.candidate)
        for kernel in kernels:
            key = self._cache.key(kernel, job.gpu)
            if self._cache.get(key) is not None:
                continue
            try:
                result = compile_kernel(kernel, job.gpu)
            except (
                Exception
            ) as error:  # Triton and its backends raise anything; it is what is known of the kernel
                self._cache.put(key, described(error))
                raise
            self._cache.put(key, result)
        return _Compiled(time.perf_counter() - start_s)


def make_workbench(config: MeasureConfig) -> CompileWorkbench:
    """For a compiling process; it needs none of the settings."""
    return CompileWorkbench(CompileCache(os.environ[CACHE_VARIABLE]))


def gpu_space(job: MeasureJob) -> Space[GpuTarget]:
    """The space that a job's candidate belongs to."""
    return build_space(make_operator(job.operator, job.parameters).program(), job.gpu)


@dataclass(frozen=True)
class _Compiled:
    compile_s: float

    def check(self) -> str | None:
        return None

    def time_calls(self, num_calls: int) -> float:
        raise RuntimeError("a kernel that was only compiled cannot be timed")
