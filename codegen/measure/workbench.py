"""The workbench of real candidates: lower, compile with LLVM, check against the reference, time natively."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

from codegen.llvm.arrays import Array
from codegen.llvm.build import compile_program
from codegen.llvm.kernel import BoundKernel
from codegen.measure.config import MeasureConfig
from codegen.measure.jobs import ConstraintError, MeasureJob, Trial
from codegen.measure.oracle import Oracle
from codegen.ops import make_operator
from codegen.schedule import ScheduleError, Space, build_space

T = TypeVar("T")

MAX_TASKS = 3
"""Tasks kept ready where each holds its operands and reference output."""

MAX_SPACES = 100
"""Tasks kept ready where each holds its space alone."""


class RecentTasks(Generic[T]):
    """What is kept of the ``most`` tasks seen last; ``make`` makes it of the first job of one."""

    def __init__(self, make: Callable[[MeasureJob], T], most: int = MAX_TASKS) -> None:
        self._make = make
        self._most = most
        self._tasks: OrderedDict[tuple[str, str, str, int], T] = OrderedDict()

    def of(self, job: MeasureJob) -> T:
        """The job's task, made if it is not kept."""
        key = job.task_key
        if key not in self._tasks:
            self._tasks[key] = self._make(job)
            if len(self._tasks) > self._most:
                self._tasks.popitem(last=False)
        self._tasks.move_to_end(key)
        return self._tasks[key]


@contextmanager
def illegal_is_refused() -> Iterator[None]:
    """What lowers candidates: an illegal schedule is a fact about the candidate, no mistake."""
    try:
        yield
    except ScheduleError as error:
        raise ConstraintError(str(error)) from error


class LlvmWorkbench:
    """Keeps the space, inputs and reference of the tasks it has seen last."""

    def __init__(self) -> None:
        self._tasks = RecentTasks(_make_task)

    def prepare(self, job: MeasureJob) -> None:
        """See ``Workbench``; the first job of a task computes its reference output."""
        self._tasks.of(job)

    def build(self, job: MeasureJob) -> Trial:
        """See ``Workbench``."""
        task = self._tasks.of(job)
        start_s = time.perf_counter()
        with illegal_is_refused():
            loops = task.space.lower_named(job.candidate)
        kernel = compile_program(loops, job.cpu)
        compile_s = time.perf_counter() - start_s
        bound = kernel.bind(**task.oracle.constants)
        arguments = tuple(task.oracle.operands[buffer.name] for buffer in bound.free)
        return _LlvmTrial(bound, arguments, task.oracle, task.space.errors(job.candidate), compile_s)


def make_workbench(config: MeasureConfig) -> LlvmWorkbench:
    """For a measuring process; it needs none of the settings."""
    return LlvmWorkbench()


@dataclass(frozen=True)
class _Task:
    space: Space
    oracle: Oracle


def _make_task(job: MeasureJob) -> _Task:
    operator = make_operator(job.operator, job.parameters)
    space = build_space(operator.program(), job.cpu)
    return _Task(space, Oracle(operator, space.program, job.seed))


@dataclass(frozen=True)
class _LlvmTrial:
    bound: BoundKernel
    arguments: tuple[Array, ...]
    oracle: Oracle
    errors: Mapping[str, float]
    compile_s: float

    def check(self) -> str | None:
        self.oracle.poison()
        self.bound(*self.arguments, out=self.oracle.output)
        return self.oracle.complaint(self.errors)

    def time_calls(self, num_calls: int) -> float:
        return self.bound.time_calls(num_calls, *self.arguments, out=self.oracle.output)
