"""Measuring on a GPU: everything but the clock, on tensors of a CPU that the interpreter computes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from codegen.measure.config import MeasureConfig
from codegen.measure.jobs import MeasureJob
from codegen.measure.trials import Bench, prepare_task, run_trial
from codegen.measure.workbench_cuda import GpuWorkbench, make_workbench
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

    def seconds(self, call: Callable[[], None]) -> float:
        call()
        self.num_calls += 1
        return 40e-6


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
    tensors: Any = workbench._tasks.of(job).tensors
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


def test_without_a_gpu_nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(RuntimeError, match=r"use a fresh process|no CUDA device"):
        make_workbench(CONFIG)
