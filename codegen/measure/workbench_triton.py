"""The workbench of Triton kernels without a GPU: emit, run in Triton's interpreter, check.

It times nothing: what a kernel costs on a GPU is not known from a CPU.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from types import ModuleType

import numpy as np

from codegen.gpu_target import GpuTarget
from codegen.ir.loops import LoopProgram
from codegen.measure.config import MeasureConfig
from codegen.measure.jobs import MeasureJob, Trial
from codegen.measure.oracle import Oracle
from codegen.measure.workbench import RecentTasks, illegal_is_refused
from codegen.ops import make_operator
from codegen.precision import Precision
from codegen.schedule import Space, build_space
from codegen.triton.module import emit_module
from codegen.triton.run import call_module, import_source, use_interpreter

WORKBENCH = "codegen.measure.workbench_triton:make_workbench"
"""For ``MeasurePool``, whose ``verify`` is all that this workbench is good for."""


class InterpreterWorkbench:
    """Keeps the space, inputs and reference of the tasks it has seen last."""

    def __init__(self) -> None:
        use_interpreter()
        self._tasks = RecentTasks(_make_task)
        self._folder = tempfile.TemporaryDirectory()

    def prepare(self, job: MeasureJob) -> None:
        """See ``Workbench``; the first job of a task computes its reference output."""
        self._tasks.of(job)

    def build(self, job: MeasureJob) -> Trial:
        """See ``Workbench``."""
        task = self._tasks.of(job)
        start_s = time.perf_counter()
        with illegal_is_refused():
            loops = task.space.lower_named(job.candidate)
            source = emit_module(loops, job.gpu.precision)
        module = import_source(source, self._folder.name)
        return _Interpreted(module, loops, task.oracle, job.gpu.precision, time.perf_counter() - start_s)


def make_workbench(config: MeasureConfig) -> InterpreterWorkbench:
    """For a measuring process; it needs none of the settings."""
    return InterpreterWorkbench()


@dataclass(frozen=True)
class _Task:
    space: Space[GpuTarget]
    oracle: Oracle


def _make_task(job: MeasureJob) -> _Task:
    operator = make_operator(job.operator, job.parameters)
    space = build_space(operator.program(), job.gpu)
    return _Task(space, Oracle(operator, space.program, job.seed, job.gpu.precision))


@dataclass(frozen=True)
class _Interpreted:
    module: ModuleType
    loops: LoopProgram
    oracle: Oracle
    precision: Precision
    compile_s: float

    def check(self) -> str | None:
        result = call_module(self.module, self.loops, self.oracle.operands, self.precision)
        np.copyto(self.oracle.output, result.reshape(self.oracle.output.shape))
        return self.oracle.complaint()

    def time_calls(self, num_calls: int) -> float:
        raise RuntimeError("a kernel for a GPU cannot be timed without one")
