"""The workbench of Triton kernels on the GPU of this machine: emit, run, check, time by events."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from codegen.gpu_target import GpuTarget
from codegen.ir.expression import loads
from codegen.ir.loops import LoopProgram, Scope, Store, walk_nodes
from codegen.measure.config import MeasureConfig
from codegen.measure.jobs import MeasureJob, Trial
from codegen.measure.oracle import Oracle
from codegen.measure.workbench import RecentTasks, illegal_is_refused
from codegen.ops import make_operator
from codegen.schedule import Space, build_space
from codegen.triton.candidate import candidate_launch
from codegen.triton.compile import use_compiler
from codegen.triton.module import emit_module
from codegen.triton.run import import_source

WORKBENCH = "codegen.measure.workbench_cuda:make_workbench"

_FLUSHED_BYTES = 256 * 2**20
"""Written before each timed call: several times the L2 cache of any GPU described here."""


class DeviceClock(Protocol):
    """Times work on a device; the one thing that a test without a GPU puts in place of it."""

    def seconds(self, call: Callable[[], None]) -> float:
        """What one call takes on the device, its data evicted from the caches before."""
        ...


class EventClock:
    """CUDA events around each call, after writing more than the L2 cache holds, as ``do_bench`` does."""

    def __init__(self) -> None:
        import torch

        self._flushed = torch.empty(_FLUSHED_BYTES, dtype=torch.int8, device="cuda")

    def seconds(self, call: Callable[[], None]) -> float:
        """See ``DeviceClock``; the resolution is half a microsecond."""
        import torch

        event: Any = torch.cuda.Event  # without type information
        start, end = (event(enable_timing=True) for _ in range(2))
        self._flushed.zero_()
        start.record()
        call()
        end.record()
        torch.cuda.synchronize()
        return float(start.elapsed_time(end)) / 1e3


class GpuWorkbench:
    """Keeps the space, inputs on the device and reference of the tasks it has seen last."""

    def __init__(self, device: str, clock: DeviceClock) -> None:
        self._device = device
        self._clock = clock
        self._tasks = RecentTasks(self._make_task)
        self._folder = tempfile.TemporaryDirectory()

    def prepare(self, job: MeasureJob) -> None:
        """See ``Workbench``."""
        self._tasks.of(job)

    def build(self, job: MeasureJob) -> Trial:
        """See ``Workbench``; a kernel is compiled when it is first run, by the check."""
        task = self._tasks.of(job)
        start_s = time.perf_counter()
        with illegal_is_refused():
            loops = task.space.lower_named(job.candidate)
            source = emit_module(loops, job.gpu.precision, candidate_launch(job.candidate))
        call = _bound(import_source(source, self._folder.name), loops, task)
        return _DeviceTrial(call, task, self._clock, time.perf_counter() - start_s)

    def _make_task(self, job: MeasureJob) -> _Task:
        import torch

        operator = make_operator(job.operator, job.parameters)
        space = build_space(operator.program(), job.gpu)
        oracle = Oracle(operator, space.program, job.seed, job.gpu.precision)
        dtype = getattr(torch, job.gpu.precision.storage)
        tensors = {
            name: torch.from_numpy(np.array(array)).to(dtype).to(self._device)
            for name, array in oracle.operands.items()
        }
        output = torch.empty(oracle.output.shape, dtype=dtype, device=self._device)
        return _Task(space, oracle, tensors, output)


def make_workbench(config: MeasureConfig) -> GpuWorkbench:
    """For a measuring process; RuntimeError if this machine has no CUDA device."""
    use_compiler()
    import torch

    if not torch.cuda.is_available():
        raise RuntimeError("there is no CUDA device on this machine")
    return GpuWorkbench("cuda", EventClock())


@dataclass(frozen=True)
class _Task:
    space: Space[GpuTarget]
    oracle: Oracle
    tensors: Mapping[str, Any]
    output: Any


def _bound(module: Any, loops: LoopProgram, task: _Task) -> Callable[[], None]:
    """The module's function on the task's tensors, constants packed beforehand."""
    inputs = [task.tensors[buffer.name] for buffer in loops.buffers if buffer.scope is Scope.INPUT]
    function = getattr(module, f"{loops.name}_out")
    if not loops.prepack:
        return lambda: function(*inputs, task.output)
    prepare = getattr(module, f"{loops.name}_prepare")
    stores = [node for node in walk_nodes(loops.prepack) if isinstance(node, Store)]
    packed = {load.buffer for store in stores for load in loads(store.value)}
    prepared = prepare(*(task.tensors[b.name] for b in loops.buffers if b.name in packed))
    return lambda: function(*inputs, task.output, prepared=prepared)


@dataclass(frozen=True)
class _DeviceTrial:
    call: Callable[[], None]
    task: _Task
    clock: DeviceClock
    compile_s: float

    def check(self) -> str | None:
        import torch

        self.task.output.fill_(float("nan"))
        self.call()
        np.copyto(self.task.oracle.output, self.task.output.to(torch.float32).cpu().numpy())
        return self.task.oracle.complaint()

    def time_calls(self, num_calls: int) -> float:
        return sum(self.clock.seconds(self.call) for _ in range(num_calls))
