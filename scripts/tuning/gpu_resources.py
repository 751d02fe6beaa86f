"""What scripts do with candidates for a GPU, which need not be there."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from codegen.gpu_device import device_names, gpu_device
from codegen.gpu_target import GpuTarget
from codegen.measure.compile_pool import Compilation, CompilePool
from codegen.measure.config import MeasureConfig
from codegen.measure.cores import usable_cores
from codegen.measure.jobs import MeasureJob
from codegen.measure.measurement import Measurement
from codegen.measure.pool import MeasurePool
from codegen.measure.verify_pool import VerifyPool
from codegen.measure.workbench_cuda import COMPILER as CUDA_COMPILER
from codegen.measure.workbench_cuda import WORKBENCH as CUDA_WORKBENCH
from codegen.measure.workbench_triton import WORKBENCH as INTERPRETER
from codegen.triton.compile import occupancy
from codegen.triton.compile_cache import CompileCache
from scripts.running.display import say
from scripts.running.outputs import Metrics
from scripts.tuning.measured_search import measure_ahead, reproduce_command
from scripts.tuning.outcomes import measurement_metrics, outcome_text


def name_of_gpu(target: GpuTarget) -> str:
    """The GPU of this machine; ValueError if it has none of the target's architecture."""
    import torch

    if not torch.cuda.is_available():
        raise ValueError(f"there is no GPU to measure {target.name} on")
    properties: Any = torch.cuda.get_device_properties(0)
    found = f"sm_{properties.major}{properties.minor}"
    if torch.version.hip is not None:
        found = properties.gcnArchName.split(":")[0]
    if found != target.arch:
        raise ValueError(f"the GPU of this machine is {found}, {target.name} is {target.arch}")
    return str(properties.name)


def require_described(target: GpuTarget, gpu: str) -> None:
    """ValueError unless the target describes the GPU of that name: records of different ones stay apart.

    Its multiprocessors count as well, where it is there: products of one name may differ in them, and so
    does a part of one.
    """
    import torch

    described = [name for name in device_names() if _is_named(gpu, name)]
    num_sms = gpu_device(target.device).num_sms
    if torch.cuda.is_available():
        num_sms = torch.cuda.get_device_properties(0).multi_processor_count
    if target.device in described and num_sms == gpu_device(target.device).num_sms:
        return
    fitting = [name for name in described if gpu_device(name).num_sms == num_sms]
    hint = f"give target.device={fitting[0]}" if fitting else "it is not among codegen/devices; add a file"
    raise ValueError(
        f"the GPU of this machine is {gpu}, which target.device={target.device} does not describe: {hint}"
    )


def _is_named(gpu: str, device: str) -> bool:
    """Whether the words of a device, such as ``rtx_3090``, are words of a GPU's name, in a row."""
    words = "_".join(re.findall("[a-z0-9]+", gpu.lower()))
    return f"_{device}_" in f"_{words}_"


INTERPRETED_S = 120.0
"""Time limit of a candidate in Triton's interpreter, at least: a grid of programs takes seconds, and several
times as long where other work holds the cores. Nothing is timed there."""


def interpreter_pool(config: MeasureConfig) -> MeasurePool:
    """Verifies candidates for a GPU in Triton's interpreter."""
    limited = replace(config, timeout_s=max(config.timeout_s, INTERPRETED_S))
    return MeasurePool(limited, reproduce_command, INTERPRETER)


MAX_COMPILERS = 12
"""Each holds a context on the GPU, some 0.5 GB of its memory, and about as much as a process of torch."""


@dataclass(frozen=True)
class GpuProcesses:
    """What measures on a GPU, and what compiles for it on all cores while nothing is measured."""

    measuring: MeasurePool
    compiling: VerifyPool

    def measure(self, jobs: Sequence[MeasureJob]) -> Iterator[tuple[int, Measurement]]:
        """Position and measurement of each job, in order; all are compiled before the first is measured.

        As ``measure_ahead``.
        """
        yield from enumerate(measure_ahead(self.measuring, self.compiling, jobs))


@dataclass(frozen=True)
class GpuBench:
    """Where candidates are timed: the GPU of this machine, in a process of its own.

    A test without a GPU puts workbenches in its place that differ in clock and device alone.
    """

    workbench: str = CUDA_WORKBENCH
    compiler: str = CUDA_COMPILER
    search_path: tuple[str, ...] = ()
    name_of_gpu: Callable[[GpuTarget], str] = name_of_gpu

    def pool(self, config: MeasureConfig) -> MeasurePool:
        """Measures there."""
        return MeasurePool(self.settings(config), reproduce_command, self.workbench, self.search_path)

    @contextmanager
    def processes(self, config: MeasureConfig) -> Iterator[GpuProcesses]:
        """Measures there what is compiled ahead."""
        settings, num = self.settings(config), min(usable_cores(), MAX_COMPILERS)
        compiler = VerifyPool(settings, reproduce_command, self.compiler, num, self.search_path)
        with self.pool(config) as pool, compiler:
            yield GpuProcesses(pool, compiler)

    def settings(self, config: MeasureConfig) -> MeasureConfig:
        """What holds there: reference kernel and probes are of CPUs, and the clock flushes caches by itself.

        Before each call, which takes longer than a short kernel, so repeats are a tenth as long.
        """
        return replace(
            config,
            reference_every=0,
            steady_wait_s=0.0,
            flush_cache=False,
            min_repeat_s=config.min_repeat_s / 10,
        )


def examined_metrics(job: MeasureJob, config: MeasureConfig, cache: CompileCache, bench: GpuBench) -> Metrics:
    """Compile a candidate, run it in Triton's interpreter, and measure it if the bench has the GPU.

    A failure is a result; without the GPU no time is among the results.
    """
    with CompilePool(config, reproduce_command, cache, num_workers=1) as compiler:
        [(_, compilation)] = compiler.compile([job])
    failure = compilation.failure
    if failure is None:
        with interpreter_pool(config) as interpreter:
            failure = interpreter.verify(job)
    values = resource_metrics(compilation, job.gpu)
    if failure is not None:
        say(f"{job.operator} on {job.gpu.name}: {failure.kind} failure: {failure.message}")
        return {**values, "status": failure.kind, "message": failure.message}
    say(f"{job.operator} on {job.gpu.name}: compiled, and right in the interpreter")
    try:
        gpu = bench.name_of_gpu(job.gpu)
    except ValueError as error:
        say(f"not measured: {error}")
        return {**values, "status": "ok"}
    with bench.pool(config) as pool:
        measurement = pool.measure_one(job)
    say(f"{job.operator} on {gpu}: {outcome_text(measurement)}")
    return {**values, "status": "ok", "gpu": gpu, **measurement_metrics(measurement)}


def resource_metrics(compilation: Compilation, target: GpuTarget) -> Metrics:
    """Of the kernel that takes up most of each, flat; ``occupancy`` is that of the kernel with the least."""
    found: dict[str, Any] = {"num_kernels": len(compilation.resources)}
    for resources in compilation.resources:
        for name, value in vars(resources).items():
            found[name] = max(found.get(name, 0), value)
    device = gpu_device(target.device)
    if compilation.resources:
        found["occupancy"] = min(occupancy(resources, device) for resources in compilation.resources)
    return found
