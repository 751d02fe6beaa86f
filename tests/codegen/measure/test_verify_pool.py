from __future__ import annotations

import pytest

from codegen.measure.config import MeasureConfig
from codegen.measure.verify_pool import VerifyPool
from tests.codegen.measure.test_pool import CONFIG, HERE, WORKBENCH, job, reproduce


def new_pool(num_workers: int, config: MeasureConfig = CONFIG) -> VerifyPool:
    return VerifyPool(config, reproduce, WORKBENCH, num_workers, (HERE,))


def test_failures_are_told_in_the_order_of_the_jobs_whoever_ends_first() -> None:
    sketches = ["good", "hang in check", "wrong", "crash in build", "good"]
    with new_pool(2) as pool:
        failures = pool.verify([job(sketch) for sketch in sketches])
        assert [failure and failure.kind for failure in failures] == [
            None,
            "timeout",
            "correctness",
            "compile",
            None,
        ]
        # A process that was lost is replaced.
        assert pool.verify([job("good")] * 4) == [None] * 4


def test_a_mistake_in_the_task_is_raised() -> None:
    with new_pool(2) as pool, pytest.raises(ValueError, match=r"^rows must be positive, got 0$"):
        pool.verify([job("good", operator="impossible")])


def test_there_must_be_a_worker() -> None:
    with pytest.raises(ValueError, match="num_workers must be positive, got 0"):
        new_pool(0)
