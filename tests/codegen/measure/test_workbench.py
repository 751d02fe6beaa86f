from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from codegen.measure.config import MeasureConfig
from codegen.measure.detect import detect_target, read_host_cpu
from codegen.measure.jobs import MeasureJob
from codegen.measure.pool import MeasurePool
from codegen.measure.trials import Bench, prepare_task, run_trial
from codegen.measure.workbench import LlvmWorkbench
from codegen.ops import make_inputs, make_operator
from codegen.schedule import build_space
from codegen.target import Target

pytestmark = pytest.mark.skipif(
    not all(read_host_cpu().features.get(name) for name in ("avx2", "fma")), reason="no AVX2 with FMA here"
)

CONFIG = MeasureConfig(num_repeats=3, min_repeat_s=0.0002, budget_s=0.005, memory_bytes=2**31)
GROUPED = {
    "height": 9,
    "width": 8,
    "in_channels": 6,
    "out_channels": 10,
    "batch": 2,
    "groups": 2,
    "dilation": 2,
    "layout": "NHWC",
    "relu": True,
}
TASKS: list[tuple[str, dict[str, Any]]] = [
    ("matmul", {"m": 33, "k": 20, "n": 40, "bias": True, "relu": True}),
    ("conv2d", {"height": 9, "width": 10, "in_channels": 5, "out_channels": 12, "padding": 1}),
    ("conv2d", GROUPED),
    ("pool2d", {"height": 9, "width": 9, "channels": 5, "kernel": 3, "padding": 1, "kind": "average"}),
    ("scale_shift", {"channels": 7, "size": 33, "batch": 2}),
    ("softmax", {"rows": 6, "cols": 50}),
    ("reduce", {"rows": 6, "cols": 50, "kind": "mean"}),
    ("elementwise", {"shape": [5, 13], "ops": ["add", "gelu"]}),
]


@pytest.fixture(scope="module")
def target() -> Target:
    return detect_target()


@pytest.fixture(scope="module")
def pool() -> Iterator[MeasurePool]:
    with MeasurePool(CONFIG, lambda job: f"python scripts/measure.py operator={job.operator}") as shared:
        yield shared


def jobs_of(operator: str, parameters: dict[str, Any], target: Target, num: int) -> list[MeasureJob]:
    space = build_space(make_operator(operator, parameters).program(), target)
    candidates = space.sample(num, np.random.default_rng(0))
    return [MeasureJob(operator, parameters, target, space.named(candidates, row)) for row in range(num)]


@pytest.mark.parametrize(("operator", "parameters"), TASKS)
def test_sampled_candidates_are_built_checked_and_timed(
    pool: MeasurePool, target: Target, operator: str, parameters: dict[str, Any]
) -> None:
    jobs = jobs_of(operator, parameters, target, num=3)
    for position, measurement in pool.measure(jobs):
        assert measurement.failure is None, (jobs[position].candidate, measurement.failure)
        assert 0 < measurement.latency_s < 0.1
        assert 0 < measurement.compile_s < measurement.total_s


class SpoiledWorkbench(LlvmWorkbench):
    """Changes one weight once the reference output is known, as a wrong kernel would."""

    def prepare(self, job: MeasureJob) -> None:
        super().prepare(job)
        self._tasks.of(job).oracle.operands["b"][3, 7] += 1000.0


def test_a_kernel_that_computes_something_else_is_a_correctness_failure(target: Target) -> None:
    [job] = jobs_of("matmul", {"m": 5, "k": 20, "n": 40}, target, num=1)
    bench = Bench(replace(CONFIG, reference_every=0), SpoiledWorkbench(), lambda phase, position: None)
    prepare_task(bench, job)
    failure = run_trial(bench, job, None).failure
    assert failure is not None
    assert failure.kind == "correctness"
    column = make_inputs(make_operator(job.operator, job.parameters), np.random.default_rng(0))["a"][:, 3]
    worst = int(np.argmax(np.abs(column)))
    assert failure.message.startswith(f"5 of 200 elements are wrong; the worst at ({worst}, 7) is ")


def test_knobs_outside_the_space_are_a_constraint_failure(pool: MeasurePool, target: Target) -> None:
    [job] = jobs_of(*TASKS[0], target, num=1)
    wrong = {"sketch": job.candidate["sketch"], "knobs": {"no_such_knob": 3}}
    measurement = pool.measure_one(MeasureJob(job.operator, job.parameters, target, wrong))
    assert measurement.failure is not None
    assert measurement.failure.kind == "constraints"
    assert "no_such_knob" in measurement.failure.message
    assert measurement.failure.command == "python scripts/measure.py operator=matmul"


def test_an_impossible_operator_is_the_users_mistake(pool: MeasurePool, target: Target) -> None:
    candidate = {"sketch": "any", "knobs": {}}
    with pytest.raises(ValueError, match="m must be a positive integer, got 0"):
        pool.measure_one(MeasureJob("matmul", {"m": 0, "k": 1, "n": 1}, target, candidate))


def test_finalists_of_one_task_are_ranked(pool: MeasurePool, target: Target) -> None:
    finalists = pool.remeasure_interleaved(jobs_of(*TASKS[1], target, num=3), num_rounds=4)
    assert any(finalist.is_tied for finalist in finalists)
    assert all(finalist.summary is not None for finalist in finalists)
