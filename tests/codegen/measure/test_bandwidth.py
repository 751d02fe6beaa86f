from __future__ import annotations

import numpy as np
import pytest

from codegen.measure import bandwidth, mover
from codegen.measure.arrays import touched_zeros
from codegen.measure.bandwidth import BandwidthMeter, Rates, measure_bandwidth
from codegen.measure.bandwidth_loops import GRAIN, BandwidthLoops
from codegen.measure.detect import VectorWidth, detect_target, read_host_cpu
from codegen.target import Target

HAS_AVX2 = all(read_host_cpu().features.get(name) for name in ("avx2", "fma"))
HAS_AVX512 = HAS_AVX2 and detect_target().vector_lanes == 16
pytestmark = pytest.mark.skipif(not HAS_AVX2, reason="no AVX2 with FMA here")
WIDTHS = [256, pytest.param(512, marks=pytest.mark.skipif(not HAS_AVX512, reason="no AVX-512 here"))]


@pytest.fixture(params=WIDTHS)
def target(request: pytest.FixtureRequest) -> Target:
    width: VectorWidth = request.param
    return detect_target(None, width)


def test_a_read_sees_every_element_in_every_pass(target: Target) -> None:
    num_vectors = 3 * GRAIN
    x = touched_zeros((2 * num_vectors * target.vector_lanes,))
    x[: x.size // 2] = 1.0
    assert BandwidthLoops(target).read(x.ctypes.data, num_vectors, 4) == 4 * x.size // 2


@pytest.mark.parametrize("kind", ["copy", "stream"])
def test_a_copy_copies_that_much_and_no_more(target: Target, kind: str) -> None:
    x, y = (touched_zeros((4 * GRAIN * target.vector_lanes,)) for _ in range(2))
    x[:] = np.arange(x.size)
    getattr(BandwidthLoops(target), kind)(y.ctypes.data, x.ctypes.data, 2 * GRAIN)
    np.testing.assert_array_equal(y[: x.size // 2], x[: x.size // 2])
    assert not y[x.size // 2 :].any()


def test_caches_are_faster_than_memory(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bandwidth, "WORK_BYTES", 2**24)
    found = measure_bandwidth(target, num_runs=2)
    for rates in (found.memory, found.l3, found.l2):
        assert all(1e8 < rate < 1e13 for rate in (rates.read, rates.copy, rates.stream))
    assert found.l2.read > found.memory.read


def test_the_least_time_counts_pairs_as_a_copy_and_the_rest_as_reads() -> None:
    slow = Rates(read=10.0, copy=4.0, stream=5.0)
    assert slow.least_s(20, 0) == pytest.approx(2.0)
    assert slow.least_s(10, 10) == pytest.approx(4.0)
    assert slow.least_s(30, 10) == pytest.approx(6.0)
    assert slow.least_s(0, 10) == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("num_read", "num_written"), [(2**22, 2**22), (2**22, 2**14), (2**12, 2**22), (4, 4)]
)
def test_a_mover_takes_the_time_of_the_bytes(
    target: Target, monkeypatch: pytest.MonkeyPatch, num_read: int, num_written: int
) -> None:
    monkeypatch.setattr(mover, "MIN_TURN_S", 0.0005)
    with BandwidthMeter(target) as meter:
        moved = meter.mover(num_read, num_written)
        for _ in range(3):
            moved.take_turn()
    assert len(moved.times_s) == 3
    rates = [(max(num_read, num_written) + num_written) / seconds for seconds in moved.times_s]
    assert all(1e6 < rate < 1e13 for rate in rates)


def test_a_mover_copies_and_reads_at_real_addresses(target: Target) -> None:
    with BandwidthMeter(target) as meter:
        moved = meter.mover(2**16, 2**15)
        for x, y in moved.arrays:
            x[:], y[:] = 3.0, 0.0
        moved.take_turn()
        assert all((y == 3.0).all() and y.size < x.size for x, y in moved.arrays)
