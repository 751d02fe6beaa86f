"""The analytic model of GPUs: bounds it must respect, and what it prefers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from codegen.gpu_device import gpu_device
from codegen.gpu_target import GPU_TARGETS
from codegen.ops import TRANSFORMER_WORKLOADS, Matmul
from codegen.precision import Precision
from codegen.schedule import build_space
from codegen.triton.limits import Limits
from costmodel.encoders.gpu_roofline import (
    GpuRooflineConfig,
    KernelWork,
    estimated_s,
    num_resident,
    num_waves,
)
from costmodel.gpu_prior import GpuPrior

A100 = gpu_device("a100")
WORK = KernelWork(
    num_programs=np.array([1080.0]),
    num_threads=np.array([256.0]),
    num_registers=np.array([64.0]),
    shared_bytes=np.array([0.0]),
    flops=np.array([1e12]),
    local_bytes=np.array([0.0]),
    l2_bytes=np.array([0.0]),
    memory_bytes=np.array([0.0]),
    num_steps=np.array([1.0]),
    num_ahead=np.array([1.0]),
    num_updates=np.array([1.0]),
    peak_flops_per_s=np.array([A100.peak("float32")]),
)


def seconds(**changes: float) -> float:
    work = replace(WORK, **{name: np.array([value]) for name, value in changes.items()})
    return float(estimated_s(work, A100)[0])


def test_no_kernel_beats_the_rates_of_its_device() -> None:
    assert seconds() >= 1e12 / A100.peak("float32")
    assert seconds(flops=0.0, memory_bytes=1e9) >= 1e9 / A100.memory_bytes_per_s
    assert seconds(flops=0.0, memory_bytes=0.0) > 0


def test_a_wave_that_is_not_full_costs_as_much_as_a_full_one() -> None:
    full, one_more = seconds(num_programs=1080.0), seconds(num_programs=1081.0, flops=1e12 * 1081 / 1080)
    assert one_more == pytest.approx(full * 11 / 10, rel=0.01)


def test_more_of_anything_is_never_faster() -> None:
    base = seconds()
    for name in ("flops", "local_bytes", "l2_bytes", "memory_bytes", "num_steps"):
        assert seconds(**{name: 1e13}) > base
    assert seconds(num_ahead=4.0, num_steps=1e6) < seconds(num_steps=1e6)


def test_what_registers_do_not_hold_is_moved_at_every_update() -> None:
    held, spilled = seconds(num_registers=255.0, num_updates=100.0), seconds(num_registers=300.0)
    assert seconds(num_registers=300.0, num_updates=1e6) > 2 * spilled > held


def test_few_programs_leave_multiprocessors_idle() -> None:
    assert seconds(num_programs=27.0) == pytest.approx(4 * seconds(num_programs=108.0), rel=0.2)


def test_programs_and_waves_follow_from_the_limits_of_an_sm() -> None:
    assert num_resident(WORK, A100) == [4]
    assert num_waves(WORK, A100) == [3]
    large = replace(WORK, shared_bytes=np.array([170_000.0]))
    assert num_resident(large, A100) == [0]
    assert estimated_s(large, A100) == [np.inf]


def test_a_rate_must_be_positive() -> None:
    with pytest.raises(ValueError, match="busy_warps must be positive, got 0"):
        GpuRooflineConfig(busy_warps=0)


@pytest.mark.parametrize("name", GPU_TARGETS)
def test_the_prior_ranks_what_fits_and_nothing_else(name: str) -> None:
    target = replace(GPU_TARGETS[name], precision=Precision("float16"))
    space = build_space(Matmul(m=1024, k=1024, n=1024).program(), target)
    candidates = space.sample(300, np.random.default_rng(0))
    scores = GpuPrior(space).score(candidates)
    np.testing.assert_array_equal(np.isfinite(scores), Limits(space).fits(candidates))
    assert np.isneginf(scores[~np.isfinite(scores)]).all()


def test_the_prior_prefers_large_tiles_of_a_large_product() -> None:
    target = replace(GPU_TARGETS["cuda_sm80"], precision=Precision("float16"))
    space = build_space(Matmul(m=4096, k=4096, n=4096).program(), target)
    knobs = {"m_group": 8, "num_warps": 4, "num_stages": 3}
    tiles = [{"m_block": size, "n_block": size, "k_block": 32} for size in (16, 32, 64, 128)]
    candidates = space.decode([{"sketch": "dot", "knobs": {**tile, **knobs}} for tile in tiles])
    scores = GpuPrior(space).score(candidates)
    assert (np.diff(scores) > 0).all()


def test_a_candidate_alone_scores_as_in_a_batch() -> None:
    space = build_space(TRANSFORMER_WORKLOADS["bert_feed_forward_2"].program(), GPU_TARGETS["rocm_gfx942"])
    candidates = space.sample(50, np.random.default_rng(0))
    prior = GpuPrior(space)
    alone = [prior.score(space.decode([space.named(candidates, row)]))[0] for row in range(50)]
    np.testing.assert_array_equal(alone, prior.score(candidates))
    assert prior.is_fitted
    assert len(prior.score(candidates[:0])) == 0
