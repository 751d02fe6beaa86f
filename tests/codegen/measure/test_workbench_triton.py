"""Verification of Triton kernels in a measuring process: right, wrong, illegal, too slow."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from codegen.measure.config import MeasureConfig
from codegen.measure.jobs import MeasureJob
from codegen.measure.pool import MeasurePool
from codegen.measure.trials import Bench, check_candidate, prepare_task, run_trial
from codegen.measure.workbench_triton import WORKBENCH, InterpreterWorkbench
from codegen.ops import make_operator
from codegen.precision import Precision
from codegen.schedule import build_space
from tests.targets import make_gpu_target, make_target

pytest.importorskip("triton", reason="triton is not installed")

CONFIG = MeasureConfig(reference_every=0, timeout_s=60.0)
MATMUL = {"m": 33, "k": 40, "n": 20, "bias": True}


@pytest.fixture(scope="module")
def pool() -> Iterator[MeasurePool]:
    with MeasurePool(CONFIG, lambda job: f"verify {job.operator}", WORKBENCH) as shared:
        yield shared


def job_of(operator: str, parameters: dict[str, Any], precision: Precision | None = None) -> MeasureJob:
    target = make_gpu_target(precision)
    space = build_space(make_operator(operator, parameters).program(), target)
    named = space.named(space.sample(1, np.random.default_rng(0)), 0)
    return MeasureJob(operator, parameters, target, named)


@pytest.mark.parametrize("precision", [Precision(), Precision("bfloat16")], ids=str)
def test_a_right_kernel_is_verified_in_a_process_of_its_own(pool: MeasurePool, precision: Precision) -> None:
    assert pool.verify(job_of("matmul", MATMUL, precision)) is None
    assert pool.verify(job_of("softmax", {"rows": 3, "cols": 20}, precision)) is None


def test_a_candidate_outside_the_space_is_a_constraint_failure(pool: MeasurePool) -> None:
    job = job_of("matmul", MATMUL)
    failure = pool.verify(replace(job, candidate={**job.candidate, "sketch": "no_such_sketch"}))
    assert failure is not None
    assert failure.kind == "constraints"
    assert "no_such_sketch" in failure.message
    assert failure.command == "verify matmul"


def test_an_impossible_operator_is_the_users_mistake(pool: MeasurePool) -> None:
    with pytest.raises(ValueError, match="m must be a positive integer, got 0"):
        pool.verify(replace(job_of("matmul", MATMUL), parameters={**MATMUL, "m": 0}))


def test_a_target_that_is_a_cpu_is_refused(pool: MeasurePool) -> None:
    with pytest.raises(ValueError, match="target must be a GPU here, got imaginary"):
        pool.verify(replace(job_of("matmul", MATMUL), target=make_target()))


def test_a_verification_that_takes_too_long_is_a_timeout() -> None:
    config = replace(CONFIG, timeout_s=0.2)
    with MeasurePool(config, lambda job: "", WORKBENCH) as hasty:
        failure = hasty.verify(job_of("pool2d", {"height": 300, "width": 300, "channels": 9}))
    assert failure is not None
    assert failure.kind == "timeout"


class SpoiledWorkbench(InterpreterWorkbench):
    """Changes a weight once the reference is known, as a wrong kernel would."""

    def prepare(self, job: MeasureJob) -> None:
        super().prepare(job)
        self._tasks.of(job).oracle.operands["b"][3, 7] += 1000.0


def test_a_wrong_kernel_is_a_correctness_failure_and_nothing_is_timed() -> None:
    job = job_of("matmul", MATMUL)
    wrong = Bench(CONFIG, SpoiledWorkbench(), lambda phase, position: None)
    prepare_task(wrong, job)
    failure = check_candidate(wrong, job)
    assert failure is not None
    assert failure.kind == "correctness"
    right = Bench(CONFIG, InterpreterWorkbench(), lambda phase, position: None)
    prepare_task(right, job)
    measurement = run_trial(right, job, None)
    assert measurement.failure is not None
    assert "cannot be timed without one" in measurement.failure.message
