from __future__ import annotations

import os
import time
from threading import BrokenBarrierError

import numpy as np
import pytest

from codegen.measure.arrays import touched_zeros
from codegen.measure.detect import VectorWidth, detect_target, read_host_cpu
from codegen.measure.drift import MachineProbe
from codegen.measure.peak import measure_peak
from codegen.measure.peak_loops import NUM_ACCUMULATORS, NativeLoops, PinnedTeam
from codegen.target import Target

HAS_AVX2 = all(read_host_cpu().features.get(name) for name in ("avx2", "fma"))
HAS_AVX512 = HAS_AVX2 and detect_target().vector_lanes == 16
pytestmark = pytest.mark.skipif(not HAS_AVX2, reason="no AVX2 with FMA here")

needs_avx512 = pytest.mark.skipif(not HAS_AVX512, reason="no AVX-512 here")
WIDTHS = [pytest.param(256), pytest.param(512, marks=needs_avx512)]


@pytest.fixture(params=WIDTHS)
def target(request: pytest.FixtureRequest) -> Target:
    width: VectorWidth = request.param
    return detect_target(None, width)


def test_the_fma_loop_computes_what_it_claims(target: Target) -> None:
    loops = NativeLoops(target)
    # An accumulator starts at x and becomes a x + x.
    assert loops.fma(3, 0.5) == pytest.approx(NUM_ACCUMULATORS * (1 - 0.5**4))
    assert loops.fma(3, 1.0) == pytest.approx(NUM_ACCUMULATORS * 4)
    assert loops.flops_per_iteration == 2 * NUM_ACCUMULATORS * target.vector_lanes


def test_the_stream_computes_a_triad_and_stays_in_bounds(target: Target) -> None:
    a, b, c = (touched_zeros((1024,)) for _ in range(3))
    b[:], c[:] = np.arange(1024), 2.0
    NativeLoops(target).triad(a.ctypes.data, b.ctypes.data, c.ctypes.data, 512 // target.vector_lanes)
    np.testing.assert_array_equal(a[:512], np.arange(512) + 6.0)
    np.testing.assert_array_equal(a[512:], 0.0)


def test_the_peak_is_plausible_and_quickly_measured(target: Target) -> None:
    start_s = time.perf_counter()
    peak = measure_peak(target, num_runs=3)
    assert time.perf_counter() - start_s < 3.0
    # A clock from 0.2 to 8 GHz with one to two FMA units, and no core alone beats all together by much.
    assert 0.2 * 2 * target.vector_lanes < peak.gflops_per_core < 8 * 4 * target.vector_lanes
    assert peak.gflops_all < 1.5 * target.num_threads * peak.gflops_per_core
    assert 0.5 < peak.bandwidth_gb_s < 5000


def test_a_team_runs_on_every_core_at_once(target: Target) -> None:
    seen = []
    with PinnedTeam(target.num_threads) as team:
        seconds = team.run(seen.append)
    assert sorted(seen) == list(range(target.num_threads))
    assert len(seconds) == target.num_threads


def test_reference_work_takes_about_a_millisecond_and_sees_more_work(target: Target) -> None:
    with MachineProbe(target) as probe:
        first = min(probe.reference_s() for _ in range(5))
        probe.flush()
    assert 1e-4 < first < 0.05


def test_a_core_that_was_taken_away_is_an_error_and_no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    with PinnedTeam(2) as team:
        last = sorted(os.sched_getaffinity(0))[len(team) - 1]
        pin = os.sched_setaffinity

        def refuse_last(process: int, cores: set[int]) -> None:
            if cores == {last}:
                raise OSError("invalid argument")
            pin(process, cores)

        monkeypatch.setattr(os, "sched_setaffinity", refuse_last)
        with pytest.raises((OSError, BrokenBarrierError)):
            team.run(lambda number: None)
