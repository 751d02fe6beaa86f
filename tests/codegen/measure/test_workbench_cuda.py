"""Measuring on a GPU: everything but the clock, on tensors of a CPU that the interpreter computes."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from codegen.measure import workbench_cuda
from codegen.measure.config import MeasureConfig
from codegen.measure.jobs import MeasureJob
from codegen.measure.trials import Bench, check_candidate, prepare_task, run_trial
from codegen.measure.workbench_cuda import CompilingWorkbench, EventClock, GpuWorkbench, make_workbench
from codegen.ops import make_operator
from codegen.precision import Precision
from codegen.schedule import build_space
from tests.targets import make_gpu_target

pytest.importorskip("triton", reason="triton is not installed")

CONFIG = MeasureConfig(reference_every=0, num_repeats=3, min_repeat_s=1e-4, budget_s=1e-3)
MATMUL = {"m": 33, "k": 300, "n": 20, "bias": True}


class CountedClock:
    """A device on which every call takes 40 microseconds; it does run what it times."""

    num_calls = 0

    def seconds(self, call: Callable[[], None], num_calls: int) -> float:
        for _ in range(num_calls):
            call()
        self.num_calls += num_calls
        return num_calls * 40e-6


def jobs() -> Iterator[MeasureJob]:
    """One of each sketch."""
    target = make_gpu_target(Precision("float16"))
    space = build_space(make_operator("matmul", MATMUL).program(), target)
    candidates = space.sample(60, np.random.default_rng(0))
    for _, rows in space.by_sketch(candidates):
        yield MeasureJob("matmul", MATMUL, target, space.named(candidates, int(rows[0])))


def test_times_are_those_of_the_clock_and_the_output_is_checked() -> None:
    clock = CountedClock()
    bench = Bench(CONFIG, GpuWorkbench("cpu", clock), lambda phase, position: None)
    for job in jobs():
        prepare_task(bench, job)
        before = clock.num_calls
        measurement = run_trial(bench, job, None)
        assert measurement.failure is None
        assert measurement.times_s == pytest.approx([40e-6] * len(measurement.times_s))
        # Repeats in which somebody else had the processor are left out, on a busy machine most of them.
        assert clock.num_calls - before >= max(3, len(measurement.times_s))
        assert measurement.times_s


def test_a_wrong_kernel_is_not_timed() -> None:
    clock = CountedClock()
    workbench = GpuWorkbench("cpu", clock)
    bench = Bench(CONFIG, workbench, lambda phase, position: None)
    job = next(jobs())
    prepare_task(bench, job)
    tensors: Any = workbench._tasks.of(job).kernels.tensors
    tensors["a"][0, 0] += 100.0
    measurement = run_trial(bench, job, None)
    assert measurement.failure is not None
    assert measurement.failure.kind == "correctness"
    assert clock.num_calls == 0


def test_a_candidate_outside_the_space_is_a_constraint_failure() -> None:
    bench = Bench(CONFIG, GpuWorkbench("cpu", CountedClock()), lambda phase, position: None)
    job = next(jobs())
    prepare_task(bench, job)
    measurement = run_trial(bench, replace(job, candidate={**job.candidate, "sketch": "none"}), None)
    assert measurement.failure is not None
    assert measurement.failure.kind == "constraints"


def test_what_does_not_fit_the_device_is_a_constraint_failure() -> None:
    bench = Bench(CONFIG, GpuWorkbench("cpu", CountedClock()), lambda phase, position: None)
    job = replace(next(jobs()), parameters={"m": 512, "k": 512, "n": 512})
    knobs = {"m_block": 256, "n_block": 128, "k_block": 128, "m_group": 1, "num_warps": 8, "num_stages": 5}
    prepare_task(bench, job)
    measurement = run_trial(bench, replace(job, candidate={"sketch": "dot", "knobs": knobs}), None)
    assert measurement.failure is not None
    assert measurement.failure.kind == "constraints"
    assert "bytes of shared memory" in measurement.failure.message


def errors() -> list[tuple[Exception, str, bool]]:
    """An error of Triton or torch, the kind of failure that it is, and whether the process is done for."""
    from triton.compiler.errors import CompilationError
    from triton.runtime.errors import OutOfResources, PTXASError

    illegal = "an illegal memory access was encountered"
    return [
        (OutOfResources(262144, 166912, "shared memory"), "constraints", False),
        (PTXASError("unsupported instruction"), "compile", False),
        (CompilationError("k = 0", ast.parse("k = 0").body[0], "no such name"), "compile", False),
        (RuntimeError(f"Triton Error [CUDA]: {illegal}"), "runtime", True),
        (RuntimeError(f"CUDA error: {illegal}"), "runtime", True),
        (RuntimeError("shape mismatch"), "runtime", False),
    ]


@pytest.mark.parametrize(("error", "kind", "is_lost"), errors(), ids=lambda value: type(value).__name__)
def test_what_goes_wrong_on_a_device_is_named(error: Exception, kind: str, is_lost: bool) -> None:
    class FailingClock:
        def seconds(self, call: Callable[[], None], num_calls: int) -> float:
            raise error

    bench = Bench(CONFIG, GpuWorkbench("cpu", FailingClock()), lambda phase, position: None)
    job = next(jobs())
    prepare_task(bench, job)
    measurement = run_trial(bench, job, None)
    assert measurement.times_s == ()
    assert measurement.failure is not None
    assert measurement.failure.kind == kind
    assert measurement.failure.message
    assert bench.is_exhausted == is_lost


def test_without_a_gpu_nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(RuntimeError, match=r"use a fresh process|no CUDA device"):
        make_workbench(CONFIG)


@pytest.mark.parametrize(("queueing_s", "num_flushes"), [(0.0, 1), (250e-6, 6), (10.0, 50)])
def test_the_device_is_kept_busy_for_as_long_as_queueing_takes(
    monkeypatch: pytest.MonkeyPatch, queueing_s: float, num_flushes: int
) -> None:
    asked = []

    class RecordingClock(EventClock):
        def __init__(self) -> None:
            self._flush_s = 100e-6

        def _times_s(self, call: Callable[[], object], num_calls: int, num_flushes: int) -> list[float]:
            asked.append(num_flushes)
            return [20e-6] * num_calls

    readings = iter([1.0, 1.0 + queueing_s])
    monkeypatch.setattr(workbench_cuda.time, "perf_counter", lambda: next(readings))
    assert RecordingClock().seconds(lambda: None, 3) == pytest.approx(60e-6)
    assert asked == [num_flushes]


def test_what_is_compiled_ahead_is_run_once_and_cannot_be_timed() -> None:
    workbench = CompilingWorkbench("cpu")
    for job in jobs():
        workbench.prepare(job)
        trial = workbench.build(job)
        assert trial.check() is None
        with pytest.raises(RuntimeError, match="only compiled"):
            trial.time_calls(1)
    bench = Bench(CONFIG, workbench, lambda phase, position: None)
    outside = replace(job, candidate={**job.candidate, "sketch": "none"})
    failure = check_candidate(bench, outside)
    assert failure is not None
    assert failure.kind == "constraints"
