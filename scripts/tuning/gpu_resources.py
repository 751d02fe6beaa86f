"""What scripts do with candidates for a GPU that need not be there."""

from __future__ import annotations

from typing import Any

from codegen.measure.compile_pool import Compilation, CompilePool
from codegen.measure.config import MeasureConfig
from codegen.measure.jobs import MeasureJob
from codegen.measure.pool import MeasurePool
from codegen.measure.workbench_triton import WORKBENCH
from codegen.triton.compile_cache import CompileCache
from scripts.running.display import say
from scripts.running.outputs import Metrics
from scripts.tuning.measured_search import reproduce_command


def examined_metrics(job: MeasureJob, config: MeasureConfig, cache: CompileCache) -> Metrics:
    """Compile a candidate and run it in Triton's interpreter; nothing is timed, and a failure is a result."""
    with CompilePool(config, reproduce_command, cache, num_workers=1) as compiler:
        [(_, compilation)] = compiler.compile([job])
    failure = compilation.failure
    if failure is None:
        with MeasurePool(config, reproduce_command, WORKBENCH) as interpreter:
            failure = interpreter.verify(job)
    values = resource_metrics(compilation)
    if failure is None:
        say(f"{job.operator} on {job.gpu.name}: compiled, and right in the interpreter; nothing is timed")
        return {**values, "status": "ok"}
    say(f"{job.operator} on {job.gpu.name}: {failure.kind} failure: {failure.message}")
    return {**values, "status": failure.kind, "message": failure.message}


def resource_metrics(compilation: Compilation) -> Metrics:
    """Of the kernel that takes up most of each, flat."""
    found: dict[str, Any] = {"num_kernels": len(compilation.resources)}
    for resources in compilation.resources:
        for name, value in vars(resources).items():
            found[name] = max(found.get(name, 0), value)
    return found
