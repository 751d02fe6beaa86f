"""Whatever goes wrong in a trial has the phase in which it went wrong."""

from __future__ import annotations

import pytest

from codegen.measure.config import MeasureConfig
from codegen.measure.drift import MachineProbe
from codegen.measure.jobs import MeasureJob
from codegen.measure.trials import Bench, run_interleaved, run_trial
from tests.codegen.measure.faulty_workbench import FaultyWorkbench
from tests.targets import make_target

CONFIG = MeasureConfig(num_repeats=2, min_repeat_s=0.0002, budget_s=0.001)


def job(sketch: str) -> MeasureJob:
    return MeasureJob("sleep", {}, make_target(), {"sketch": sketch, "knobs": {"duration_us": 100}})


def new_bench(config: MeasureConfig = CONFIG) -> Bench:
    return Bench(config, FaultyWorkbench(), lambda phase, position: None)


@pytest.fixture
def no_memory_for_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    def exhaust(probe: MachineProbe) -> float:
        raise MemoryError

    monkeypatch.setattr(MachineProbe, "reference_s", exhaust)


@pytest.mark.usefixtures("no_memory_for_probes")
def test_memory_that_the_probe_lacks_is_no_fault_of_the_compiler() -> None:
    bench = new_bench()
    failure = run_trial(bench, job("good"), None).failure
    assert failure is not None
    assert failure.kind == "runtime"
    assert failure.message.startswith("out of memory")
    assert bench.is_exhausted


@pytest.mark.usefixtures("no_memory_for_probes")
def test_finalists_keep_their_times_where_the_probe_fails() -> None:
    bench = new_bench()
    measurements = run_interleaved(bench, [job("good")] * 2, 3)
    assert [(len(found.times_s), found.failure) for found in measurements] == [(3, None)] * 2
    assert [found.reference_s for found in measurements] == [0.0, 0.0]
    assert bench.is_exhausted


def test_a_finalist_that_fails_in_a_late_round_leaves_the_others_their_times() -> None:
    bench = new_bench(MeasureConfig(reference_every=0, min_repeat_s=0.0001))
    good, bad = run_interleaved(bench, [job("good"), job("raise in 9th call")], 5)
    assert len(good.times_s) == 5
    assert bad.failure is not None
    assert bad.failure.message == "RuntimeError: first line"
