from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from codegen.measure.config import MeasureConfig
from codegen.measure.gate import Gate
from codegen.measure.jobs import MeasureJob
from codegen.measure.pool import Finalist, MeasurePool
from codegen.measure.process import WorkerProcess, WorkerSetup
from codegen.measure.steadiness import NUM_UNJUDGED
from codegen.target import Target
from tests.codegen.measure.mortal_workbench import DEATHS

HERE = str(Path(__file__).parent)
ROOT = str(Path(__file__).parents[3])
WORKBENCH = "faulty_workbench:make_workbench"
TARGET = Target(
    name="test",
    cpu="test",
    llvm_cpu="x86-64-v3",
    llvm_features="",
    vector_lanes=8,
    num_vector_registers=16,
    num_threads=1,
    l1_bytes=2**15,
    l2_bytes=2**20,
    l3_bytes=2**23,
)
CONFIG = MeasureConfig(
    num_repeats=4,
    min_repeat_s=0.0005,
    budget_s=0.01,
    timeout_s=0.8,
    memory_bytes=2**29,
    prepare_timeout_s=5.0,
    steady_wait_s=0.0,
)


def job(sketch: str, duration_us: int = 100, operator: str = "sleep") -> MeasureJob:
    return MeasureJob(
        operator, {"rows": 1}, TARGET, {"sketch": sketch, "knobs": {"duration_us": duration_us}}
    )


def reproduce(failed: MeasureJob) -> str:
    return f"python scripts/measure.py sketch={failed.candidate['sketch']!r}"


def new_pool(config: MeasureConfig = CONFIG) -> MeasurePool:
    return MeasurePool(config, reproduce, WORKBENCH, (HERE,))


@pytest.fixture(scope="module")
def pool() -> Iterator[MeasurePool]:
    with new_pool() as shared:
        yield shared


def test_a_good_candidate_has_plausible_times(pool: MeasurePool) -> None:
    measurement = pool.measure_one(job("good", duration_us=2000))
    assert measurement.failure is None
    assert 0.002 <= measurement.latency_s < 0.02
    assert measurement.compile_s == 0.001
    assert measurement.total_s > sum(measurement.times_s)
    assert 0.0001 < measurement.reference_s < 0.1


@pytest.mark.parametrize(
    ("sketch", "kind", "words"),
    [
        ("crash in build", "compile", "SIGSEGV while building"),
        ("crash in check", "runtime", "SIGSEGV while checking"),
        ("crash in time", "runtime", "SIGSEGV while timing"),
        ("abort in build", "compile", "SIGABRT while building: LLVM ERROR: cannot select"),
        ("hang in check", "timeout", "killed after 0.8 s while checking"),
        ("hang in time", "timeout", "killed after 0.8 s while timing"),
        ("memory in check", "runtime", "out of memory: the limit is 536870912 bytes"),
        ("raise in build", "compile", "RuntimeError: first line"),
        ("raise in check", "runtime", "RuntimeError: first line"),
        ("constraints in build", "constraints", "tile of 3 does not divide 16"),
        ("wrong", "correctness", "largest error 2.0 at (0, 1), allowed 1e-05"),
    ],
)
def test_a_bad_candidate_loses_one_trial_and_is_named(
    pool: MeasurePool, sketch: str, kind: str, words: str
) -> None:
    outcomes = dict(pool.measure([job("good"), job(sketch), job("good")]))
    assert outcomes[0].failure is None
    assert outcomes[2].failure is None
    failure = outcomes[1].failure
    assert failure is not None
    assert (failure.kind, failure.command) == (kind, f"python scripts/measure.py sketch={sketch!r}")
    assert words in failure.message
    assert "\n" not in failure.message


def test_the_time_limit_is_really_applied() -> None:
    with new_pool() as pool:
        start_s = time.monotonic()
        measurement = pool.measure_one(job("hang in build"))
        assert 0.8 <= time.monotonic() - start_s < 4.0
        assert measurement.failure is not None
        assert measurement.failure.kind == "timeout"
        assert measurement.total_s >= 0.8


def test_a_worker_is_reused_until_it_is_lost(pool: MeasurePool) -> None:
    first = pool.process_id
    pool.measure_one(job("raise in build"))
    assert pool.process_id == first
    pool.measure_one(job("crash in build"))
    second = pool.process_id
    assert second != first
    pool.measure_one(job("memory in build"))
    assert pool.process_id != second


def test_a_worker_killed_from_outside_costs_one_trial(pool: MeasurePool) -> None:
    os.kill(pool.process_id, signal.SIGKILL)
    first, second = pool.measure_one(job("good")), pool.measure_one(job("good"))
    assert first.failure is not None
    assert "SIGKILL" in first.failure.message
    assert second.failure is None


def test_a_death_is_not_explained_by_what_an_earlier_trial_wrote(pool: MeasurePool) -> None:
    assert pool.measure_one(job("chatter in check")).failure is None
    failure = pool.measure_one(job("crash in check")).failure
    assert failure is not None
    assert failure.message == "worker died of SIGSEGV while checking"


@pytest.fixture
def heard_interrupts() -> Iterator[None]:
    """SIGINT raises KeyboardInterrupt, also where the tests run in the background and would ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heard_interrupts")
def test_an_interrupted_trial_leaves_no_result_to_the_next_one(pool: MeasurePool) -> None:
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        pool.measure_one(job("good", duration_us=300_000, operator="interrupted"))
    measurement = pool.measure_one(job("good", duration_us=2000, operator="interrupted"))
    assert 0.002 <= measurement.latency_s < 0.02


def test_a_result_outlives_a_worker_that_cannot_be_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(setup: WorkerSetup, gate: Gate) -> WorkerProcess:
        raise RuntimeError("no more processes")

    with new_pool() as pool:
        monkeypatch.setattr("codegen.measure.pool.WorkerProcess", refuse)
        measurement = pool.measure_one(job("memory in check"))
        assert measurement.failure is not None
        assert "out of memory" in measurement.failure.message
        with pytest.raises(RuntimeError, match="no more processes"):
            pool.measure_one(job("good"))


def test_a_workbench_may_come_from_the_users_python_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", HERE)
    with MeasurePool(CONFIG, reproduce, WORKBENCH) as pool:
        assert pool.measure_one(job("good")).failure is None


def test_jobs_start_only_when_their_result_is_asked_for(pool: MeasurePool) -> None:
    results = pool.measure([job("good"), job("hang in check")])
    start_s = time.monotonic()
    assert next(results)[0] == 0
    assert time.monotonic() - start_s < 0.7


def test_other_work_goes_on_while_a_candidate_is_built_but_not_while_it_is_timed() -> None:
    is_over, steps_s = threading.Event(), list[float]()
    patient = replace(CONFIG, timeout_s=30.0)

    with new_pool(patient) as pool:

        def work() -> None:
            with pool.gate.at_work():
                while not is_over.is_set():
                    steps_s.append(time.monotonic())
                    pool.gate.pass_through()
                    time.sleep(0.001)

        worker = threading.Thread(target=work)
        worker.start()
        try:
            start_s = time.monotonic()
            measurement = pool.measure_one(job("slow in build", duration_us=100_000))
            end_s = time.monotonic()
        finally:
            is_over.set()
            worker.join()
    assert measurement.failure is None
    timed_s = sum(measurement.times_s)  # at the end, but for the way of the answer
    assert sum(start_s < each < end_s - timed_s for each in steps_s) > 10
    assert not [each for each in steps_s if end_s - timed_s < each < end_s - timed_s / 2]


def test_the_machine_is_looked_at_in_the_measuring_process() -> None:
    with new_pool(replace(CONFIG, steady_wait_s=0.1, timeout_s=30.0)) as pool:
        noted = [pool.measure_one(job("good")).unsteadiness for _ in range(NUM_UNJUDGED)]
    assert noted[: NUM_UNJUDGED - 1] == [0.0] * (NUM_UNJUDGED - 1)
    assert noted[-1] > 0


def test_what_is_usual_outlives_processes_and_the_pool() -> None:
    with new_pool(replace(CONFIG, steady_wait_s=0.01, timeout_s=30.0)) as pool:
        assert pool.readings(TARGET) == []
        for _ in range(NUM_UNJUDGED):
            pool.measure_one(job("good"))
        known = np.array(pool.readings(TARGET))
        assert len(known) >= NUM_UNJUDGED  # more, if a trial was repeated
        first = pool.process_id
        pool.measure_one(job("crash in build"))
        assert pool.process_id != first
        pool.measure_one(job("raise in build"))  # answers before it has looked
        pool.measure_one(job("crash in build"))
        assert pool.measure_one(job("good")).unsteadiness > 0
    remembered = np.array(pool.readings(TARGET))
    assert len(remembered) > len(known)
    np.testing.assert_array_equal(remembered[: len(known)], known)


def test_nothing_is_known_of_a_machine_that_nobody_looks_at(pool: MeasurePool) -> None:
    pool.measure_one(job("good"))
    assert pool.readings(TARGET) == []


def test_waiting_for_the_machine_does_not_lengthen_the_time_limit() -> None:
    with new_pool(replace(CONFIG, steady_wait_s=60.0)) as pool:
        start_s = time.monotonic()
        failure = pool.measure_one(job("hang in check")).failure
        elapsed_s = time.monotonic() - start_s
    assert failure is not None
    assert failure.kind == "timeout"
    assert elapsed_s < 30


def test_the_gate_is_open_again_after_a_lost_worker(pool: MeasurePool) -> None:
    assert pool.measure_one(job("crash in check")).failure is not None
    with pool.gate.at_work():
        pool.gate.pass_through()


def test_a_much_slower_candidate_is_timed_once(pool: MeasurePool) -> None:
    pool.measure_one(job("good", duration_us=100, operator="early stop"))
    slow = pool.measure_one(job("good", duration_us=50_000, operator="early stop"))
    assert len(slow.times_s) == 1
    alone = pool.measure_one(job("good", duration_us=50_000, operator="no rival"))
    assert len(alone.times_s) == 3


def test_an_impossible_task_is_the_users_mistake(pool: MeasurePool) -> None:
    with pytest.raises(ValueError, match=r"^rows must be positive, got 0$"):
        pool.measure_one(job("good", operator="impossible"))
    crashed = pool.measure_one(job("good", operator="unpreparable"))
    assert crashed.failure is not None
    assert "SIGSEGV while preparing" in crashed.failure.message


def test_cold_caches_are_timed_call_by_call() -> None:
    config = MeasureConfig(num_repeats=3, flush_cache=True, budget_s=1.0, reference_every=0)
    with new_pool(config) as pool:
        measurement = pool.measure_one(job("good", duration_us=100))
    assert 1 <= len(measurement.times_s) <= 6  # three, unless the machine is busy
    assert all(1e-4 <= time < 1e-2 for time in measurement.times_s)
    assert measurement.reference_s == 0.0


def test_finalists_are_ranked_and_ties_are_named(pool: MeasurePool) -> None:
    durations_us = [8000, 2000, 2000]
    finalists = pool.remeasure_interleaved([job("good", d) for d in durations_us], num_rounds=8)
    assert [finalist.job.candidate["knobs"]["duration_us"] for finalist in finalists] == durations_us
    assert not finalists[0].is_tied
    assert any(finalist.is_tied for finalist in finalists[1:])
    assert all(len(finalist.measurement.times_s) == 8 for finalist in finalists)


@pytest.mark.parametrize(
    "sketch", ["crash in time", "hang in check", "wrong", "raise in build", "raise in time"]
)
def test_a_bad_finalist_is_set_aside(pool: MeasurePool, sketch: str) -> None:
    good, bad, also_good = pool.remeasure_interleaved([job("good"), job(sketch), job("good")], num_rounds=2)
    assert bad.summary is None
    assert not bad.is_tied
    assert bad.measurement.failure is not None
    assert good.summary is not None
    assert also_good.summary is not None


def remeasured_by_mortals(deaths: Path, *sketches: str) -> list[Finalist]:
    """Finalists of processes that die as the file says."""
    config, environment = replace(CONFIG, steady_wait_s=0.01, timeout_s=30.0), {DEATHS: str(deaths)}
    with MeasurePool(config, reproduce, "mortal_workbench:make_workbench", (HERE,), environment) as pool:
        return pool.remeasure_interleaved([job(sketch) for sketch in sketches], num_rounds=2)


@pytest.mark.parametrize("phase", ["preparing", "waiting"])
@pytest.mark.parametrize(("num_deaths", "num_failed"), [(1, 0), (2, 0), (3, 1), (4, 2)])
def test_no_finalist_is_blamed_for_a_process_lost_while_none_ran(
    tmp_path: Path, phase: str, num_deaths: int, num_failed: int
) -> None:
    deaths = tmp_path / "deaths"
    deaths.write_text(f"{phase} {num_deaths}")
    finalists = remeasured_by_mortals(deaths, "good", "good")
    failures = [each.measurement.failure for each in finalists if each.measurement.failure]
    assert [each.message for each in failures] == [f"worker died of SIGKILL while {phase}"] * num_failed
    assert deaths.read_text() == f"{phase} 0"


def test_a_bad_finalist_is_set_aside_also_after_a_process_was_lost_while_none_ran(tmp_path: Path) -> None:
    deaths = tmp_path / "deaths"
    deaths.write_text("waiting 1")
    finalists = remeasured_by_mortals(deaths, "good", "crash in 3th call", "good")
    assert [each.summary is None for each in finalists] == [False, True, False]


def test_finalists_must_belong_to_one_task(pool: MeasurePool) -> None:
    with pytest.raises(ValueError, match="must share operator"):
        pool.remeasure_interleaved([job("good"), job("good", operator="other")])


def test_a_worker_that_cannot_start_says_why() -> None:
    with pytest.raises(RuntimeError, match=r"did not start.*no_such_module"):
        MeasurePool(CONFIG, reproduce, "no_such_module:make", ()).__enter__()


def test_a_worker_starts_quickly_and_without_torch() -> None:
    durations_s = []
    for _ in range(2):
        start_s = time.monotonic()
        with new_pool():
            durations_s.append(time.monotonic() - start_s)
    assert min(durations_s) < 1.5


def test_a_worker_dies_with_its_parent_even_while_it_hangs() -> None:
    script = (
        "import sys, threading, time; sys.path.insert(0, sys.argv[1]); sys.path.insert(0, sys.argv[2])\n"
        "from codegen.measure.config import MeasureConfig\n"
        "from codegen.measure.pool import MeasurePool\n"
        "from test_pool import job\n"
        "config = MeasureConfig(timeout_s=100)\n"
        "pool = MeasurePool(config, str, 'faulty_workbench:make_workbench', (sys.argv[2],))\n"
        "print(pool.process_id, flush=True)\n"
        "pool.measure_one(job('hang in check'))\n"
    )
    command = [sys.executable, "-c", script, ROOT, HERE]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        worker_id = int(parent.stdout.readline())
        time.sleep(0.3)
        assert _is_running(worker_id)
        parent.kill()
    deadline_s = time.monotonic() + 5
    while _is_running(worker_id) and time.monotonic() < deadline_s:
        time.sleep(0.02)
    assert not _is_running(worker_id)


def _is_running(process_id: int) -> bool:
    """Whether it exists and is more than an entry that nobody has collected yet."""
    status = Path(f"/proc/{process_id}/stat")
    try:
        return status.read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except (FileNotFoundError, ProcessLookupError):
        return False
