"""Compiling without a GPU: resources of all targets, failures by kind, and what the cache saves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codegen.gpu_target import GPU_TARGETS
from codegen.measure.compile_pool import CompilePool
from codegen.measure.config import MeasureConfig
from codegen.measure.jobs import MeasureJob
from codegen.ops import make_operator
from codegen.precision import Precision
from codegen.schedule import build_space
from codegen.triton.compile_cache import CompileCache
from tests.targets import make_target

pytest.importorskip("triton", reason="triton is not installed")

CONFIG = MeasureConfig(timeout_s=60.0)
MATMUL = {"m": 64, "k": 64, "n": 64}
KNOBS = {"m_block": 32, "n_block": 32, "k_block": 32, "m_group": 1, "num_warps": 2, "num_stages": 2}


def job_on(name: str, **knobs: int) -> MeasureJob:
    target = replace(GPU_TARGETS[name], precision=Precision("float16"))
    return MeasureJob("matmul", MATMUL, target, {"sketch": "dot", "knobs": {**KNOBS, **knobs}})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def pool(folder: Path) -> Iterator[CompilePool]:
    with CompilePool(CONFIG, lambda job: f"compile {job.operator}", CompileCache(folder), 1) as shared:
        yield shared


def test_a_kernel_is_compiled_once_for_each_target(pool: CompilePool, folder: Path) -> None:
    jobs = [job_on(name) for name in GPU_TARGETS]
    first = dict(pool.compile(jobs))
    for job, compilation in zip(jobs, (first[n] for n in range(3)), strict=True):
        [resources] = compilation.resources
        assert compilation.failure is None
        assert not compilation.is_cached
        assert resources.num_matrix_instructions > 0
        assert resources.shared_bytes == (32 * 32 + 32 * 32) * 2
        assert resources.num_threads == 2 * job.gpu.warp_size
        assert resources.spilled_bytes == 0
        assert 16 <= resources.num_registers <= 255
        assert resources.widest_load_bits in (32, 64, 128)
    again = dict(pool.compile(jobs))
    assert again == {n: replace(first[n], is_cached=True) for n in range(3)}
    assert len(list(folder.rglob("*.json"))) == 3


def test_a_damaged_entry_is_compiled_again(pool: CompilePool, folder: Path) -> None:
    job = job_on("rocm_gfx942")
    [(_, before)] = pool.compile([job])
    for path in folder.rglob("*.json"):
        path.write_text(path.read_text()[:-5])
    [(_, after)] = pool.compile([job])
    assert not after.is_cached
    assert after.resources == before.resources


def test_what_cannot_fit_is_not_compiled(pool: CompilePool) -> None:
    large = {"m": 512, "k": 512, "n": 512}
    knobs = {**KNOBS, "m_block": 256, "n_block": 128, "k_block": 128, "num_warps": 8, "num_stages": 5}
    job = replace(job_on("cuda_sm80"), parameters=large, candidate={"sketch": "dot", "knobs": knobs})
    [(_, compilation)] = pool.compile([job])
    assert compilation.failure is not None
    assert compilation.failure.kind == "constraints"
    assert "bytes of shared memory" in compilation.failure.message
    assert compilation.failure.command == "compile matmul"
    assert compilation.resources == ()


def test_a_candidate_outside_the_space_is_a_constraint_failure(pool: CompilePool) -> None:
    [(_, compilation)] = pool.compile([job_on("cuda_sm80", m_block=3)])
    assert compilation.failure is not None
    assert compilation.failure.kind == "constraints"
    assert "m_block" in compilation.failure.message


def test_a_target_that_is_a_cpu_is_refused(pool: CompilePool) -> None:
    with pytest.raises(ValueError, match="target must be a GPU here, got imaginary"):
        list(pool.compile([replace(job_on("cuda_sm80"), target=make_target())]))


def test_an_error_of_the_compiler_is_kept_as_a_failure(pool: CompilePool) -> None:
    unknown = replace(job_on("cuda_sm80").gpu, backend="hip", arch="gfx000", warp_size=64)
    job = replace(job_on("cuda_sm80"), target=unknown)
    for is_cached in (False, True):
        [(_, compilation)] = pool.compile([job])
        assert compilation.failure is not None
        assert compilation.failure.kind == "compile"
        assert compilation.is_cached == is_cached


def test_a_compilation_that_takes_too_long_is_a_timeout_and_tried_again(tmp_path: Path) -> None:
    config = replace(CONFIG, timeout_s=0.05)
    with CompilePool(config, lambda job: "", CompileCache(tmp_path), 1) as hasty:
        for _ in range(2):
            [(_, compilation)] = hasty.compile([job_on("cuda_sm80")])
            assert compilation.failure is not None
            assert compilation.failure.kind == "timeout"
            assert not compilation.is_cached


def test_workers_are_at_least_one(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="num_workers must be positive, got 0"):
        CompilePool(CONFIG, lambda job: "", CompileCache(tmp_path), 0)


@pytest.mark.slow
def test_the_rule_agrees_with_the_compiler_on_a_random_sample(tmp_path: Path) -> None:
    operators: list[tuple[str, dict[str, Any]]] = [
        ("matmul", {"m": 200, "k": 768, "n": 512}),
        ("conv2d", {"height": 28, "width": 28, "in_channels": 64, "out_channels": 64, "kernel": 3}),
    ]
    jobs, predicted = [], []
    with CompilePool(CONFIG, lambda job: "", CompileCache(tmp_path), 2, checks_limits=False) as pool:
        for name in GPU_TARGETS:
            for operator, parameters in operators:
                target = replace(GPU_TARGETS[name], precision=Precision("float16"))
                space = build_space(make_operator(operator, parameters).program(), target)
                candidates = space.sample(12, np.random.default_rng(3))
                named = [space.named(candidates, row) for row in range(12)]
                jobs += [MeasureJob(operator, parameters, target, candidate) for candidate in named]
                predicted += pool.limits_of(jobs[-1]).fits(candidates).tolist()
        results = dict(pool.compile(jobs))
    agreed = [(results[n].failure is None) == predicted[n] for n in range(len(jobs))]
    assert sum(agreed) >= 0.97 * len(jobs)
