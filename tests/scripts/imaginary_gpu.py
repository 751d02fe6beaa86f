"""A GPU that is not there: Triton's interpreter computes what it runs, and a made-up clock times it."""

from __future__ import annotations

import os
from collections.abc import Callable

from codegen.measure.config import MeasureConfig
from codegen.measure.workbench_cuda import CompilingWorkbench, GpuWorkbench
from codegen.triton.run import use_interpreter

BROKEN_VARIABLE = "LOOPRANK_TEST_BROKEN_GPU"
"""Set to have every timed call fail as a driver fails after an illegal access."""

CALL_S = 40e-6


class MadeUpClock:
    """The first timed calls take 40 microseconds each, the next 41, and so on up to 46."""

    def __init__(self) -> None:
        self._num_asked = 0

    def seconds(self, call: Callable[[], None], num_calls: int) -> float:
        call()
        if os.environ.get(BROKEN_VARIABLE):
            raise RuntimeError("Triton Error [CUDA]: an illegal memory access was encountered")
        self._num_asked += 1
        return num_calls * (CALL_S + 1e-6 * ((self._num_asked - 1) % 7))


def make_workbench(config: MeasureConfig) -> GpuWorkbench:
    """For a measuring process."""
    use_interpreter()
    return GpuWorkbench("cpu", MadeUpClock())


def make_compiler(config: MeasureConfig) -> CompilingWorkbench:
    """For a process that compiles ahead, which here runs each candidate once more."""
    use_interpreter()
    return CompilingWorkbench("cpu")
