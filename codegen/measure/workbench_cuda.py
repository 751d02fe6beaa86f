"""The workbench of Triton kernels on the GPU of this machine: emit, compile, run, check, time by events."""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from codegen.gpu_target import GpuTarget
from codegen.ir.expression import loads
from codegen.ir.loops import LoopProgram, Scope, Store, walk_nodes
from codegen.measure.config import MeasureConfig
from codegen.measure.jobs import ConstraintError, LostDeviceError, MeasureJob, Trial
from codegen.measure.oracle import Oracle
from codegen.measure.trials import TrialError, described
from codegen.measure.workbench import RecentTasks, illegal_is_refused
from codegen.ops import make_operator
from codegen.schedule import Space, build_space
from codegen.schedule.errors import require
from codegen.triton.candidate import candidate_launch
from codegen.triton.compile import use_compiler
from codegen.triton.limits import Limits
from codegen.triton.module import emit_module
from codegen.triton.run import import_source

WORKBENCH = "codegen.measure.workbench_cuda:make_workbench"

COMPILER = "codegen.measure.workbench_cuda:make_compiler"
"""Compiles what ``WORKBENCH`` is about to measure; that finds the binaries in Triton's cache of this user."""

_FLUSHED_BYTES = 256 * 2**20
"""Written before each timed call: several times the L2 cache of any GPU described here."""

_QUEUE_MARGIN = 2.0
"""How much longer than a call was queued in a try the device is kept busy before it."""

_MAX_FLUSHES = 50
"""The first call of a kernel compiles it, which is no measure of queueing."""

_OF_DRIVER = re.compile(r"CUDA error|Triton Error \[CUDA\]|HIP error|Triton Error \[HIP\]")
"""In messages of torch and of Triton."""


class DeviceClock(Protocol):
    """Times work on a device; the one thing that a test without a GPU puts in place of it."""

    def seconds(self, call: Callable[[], None], num_calls: int) -> float:
        """What the calls take on the device together, the data evicted from the caches before each."""
        ...


class EventClock:
    """CUDA events around each call, after writing more than the L2 cache holds, as ``do_bench`` does.

    All calls are queued before the first is waited for, so that the device finds the next launch ready. It
    does if what it writes before takes longer than the processor needs to queue a call: a call that needs
    long, such as one of several kernels, is preceded by as many writes as it takes.
    """

    def __init__(self) -> None:
        import torch

        self._flushed = torch.empty(_FLUSHED_BYTES, dtype=torch.int8, device="cuda")
        self._flushed.zero_()
        [self._flush_s] = self._times_s(self._flushed.zero_, 1, num_flushes=0)

    def seconds(self, call: Callable[[], None], num_calls: int) -> float:
        """See ``DeviceClock``; the resolution is half a microsecond a call."""
        start_s = time.perf_counter()
        call()
        queueing_s = time.perf_counter() - start_s
        num_flushes = 1 + int(_QUEUE_MARGIN * queueing_s / self._flush_s)
        return sum(self._times_s(call, num_calls, min(num_flushes, _MAX_FLUSHES)))

    def _times_s(self, call: Callable[[], object], num_calls: int, num_flushes: int) -> list[float]:
        import torch

        event: Any = torch.cuda.Event  # without type information
        pairs = [[event(enable_timing=True) for _ in range(2)] for _ in range(num_calls)]
        for start, end in pairs:
            for _ in range(num_flushes):
                self._flushed.zero_()
            start.record()
            call()
            end.record()
        torch.cuda.synchronize()
        return [float(start.elapsed_time(end)) / 1e3 for start, end in pairs]


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
        """See ``Workbench``; a kernel is compiled when it is first run, by the check.

        What the rule of ``Limits`` says does not fit is not built.
        """
        task = self._tasks.of(job)
        start_s = time.perf_counter()
        call = task.kernels.built(job, self._folder.name)
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
        return _Task(_Kernels(space, Limits(space), tensors, output), oracle)


class CompilingWorkbench:
    """Runs each candidate once, on zeros, which is what makes Triton compile it.

    Nothing is checked: what is measured is.
    """

    def __init__(self, device: str) -> None:
        self._device = device
        self._tasks = RecentTasks(self._make_kernels)
        self._folder = tempfile.TemporaryDirectory()

    def prepare(self, job: MeasureJob) -> None:
        """See ``Workbench``."""
        self._tasks.of(job)

    def build(self, job: MeasureJob) -> Trial:
        """See ``Workbench``."""
        start_s = time.perf_counter()
        call = self._tasks.of(job).built(job, self._folder.name)
        return _Untimed(call, time.perf_counter() - start_s)

    def _make_kernels(self, job: MeasureJob) -> _Kernels:
        import torch

        space = build_space(make_operator(job.operator, job.parameters).program(), job.gpu)
        dtype = getattr(torch, job.gpu.precision.storage)
        tensors = {
            tensor.name: torch.zeros(tensor.shape, dtype=dtype, device=self._device)
            for tensor in (*space.program.inputs, space.program.output)
        }
        return _Kernels(space, Limits(space), tensors, tensors[space.program.output.name])


def make_workbench(config: MeasureConfig) -> GpuWorkbench:
    """For a measuring process; RuntimeError if this machine has no CUDA device."""
    _require_device()
    return GpuWorkbench("cuda", EventClock())


def make_compiler(config: MeasureConfig) -> CompilingWorkbench:
    """For a process that compiles ahead of a measuring one; RuntimeError as there."""
    _require_device()
    return CompilingWorkbench("cuda")


def _require_device() -> None:
    use_compiler()
    import torch

    if not torch.cuda.is_available():
        raise RuntimeError("there is no CUDA device on this machine")


@contextmanager
def device_errors() -> Iterator[None]:
    """Name what goes wrong with a kernel on the device.

    Raises:
        ConstraintError: the device has not what the kernel needs.
        TrialError: the compiler refuses it (``compile``).
        LostDeviceError: the driver reports an error, after which it may refuse everything.
    """
    from triton.compiler.errors import CompilationError
    from triton.runtime.errors import OutOfResources, PTXASError

    try:
        yield
    except OutOfResources as error:
        raise ConstraintError(str(error)) from error
    except (CompilationError, PTXASError) as error:
        raise TrialError("compile", described(error)) from error
    except RuntimeError as error:
        if _OF_DRIVER.search(str(error)):
            raise LostDeviceError(described(error)) from error
        raise


@dataclass(frozen=True)
class _Kernels:
    """A task's space, and the tensors on the device that its kernels read and write."""

    space: Space[GpuTarget]
    limits: Limits
    tensors: Mapping[str, Any]
    output: Any

    def built(self, job: MeasureJob, folder: str) -> Callable[[], None]:
        """A candidate that runs on the tensors; ConstraintError if it is illegal or does not fit."""
        with illegal_is_refused():
            complaint = self.limits.complaint(self.space.decode([job.candidate]), 0)
            require(complaint is None, str(complaint))
            loops = self.space.lower_named(job.candidate)
            source = emit_module(loops, job.gpu.precision, candidate_launch(job.candidate))
        with device_errors():
            return bound_call(import_source(source, folder), loops, self.tensors, self.output)


@dataclass(frozen=True)
class _Task:
    kernels: _Kernels
    oracle: Oracle


def bound_call(
    module: Any, loops: LoopProgram, tensors: Mapping[str, Any], output: Any
) -> Callable[[], None]:
    """A generated module's function on tensors by name, constants packed beforehand."""
    inputs = [tensors[buffer.name] for buffer in loops.buffers if buffer.scope is Scope.INPUT]
    function = getattr(module, f"{loops.name}_out")
    if not loops.prepack:
        return lambda: function(*inputs, output)
    prepare = getattr(module, f"{loops.name}_prepare")
    stores = [node for node in walk_nodes(loops.prepack) if isinstance(node, Store)]
    packed = {load.buffer for store in stores for load in loads(store.value)}
    prepared = prepare(*(tensors[b.name] for b in loops.buffers if b.name in packed))
    return lambda: function(*inputs, output, prepared=prepared)


@dataclass(frozen=True)
class _DeviceTrial:
    call: Callable[[], None]
    task: _Task
    clock: DeviceClock
    compile_s: float

    def check(self) -> str | None:
        import torch

        output = self.task.kernels.output
        with device_errors():
            output.fill_(float("nan"))
            self.call()
            np.copyto(self.task.oracle.output, output.to(torch.float32).cpu().numpy())
        return self.task.oracle.complaint()

    def time_calls(self, num_calls: int) -> float:
        with device_errors():
            return self.clock.seconds(self.call, num_calls)


@dataclass(frozen=True)
class _Untimed:
    call: Callable[[], None]
    compile_s: float

    def check(self) -> str | None:
        import torch

        with device_errors():
            self.call()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
        return None

    def time_calls(self, num_calls: int) -> float:
        raise RuntimeError("a kernel that was only compiled cannot be timed")
