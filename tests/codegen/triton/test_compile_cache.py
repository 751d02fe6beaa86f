"""The cache of compilations: what decides a result decides the key, and damage is noticed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from codegen.gpu_target import GPU_TARGETS
from codegen.ops import Matmul
from codegen.precision import Precision
from codegen.schedule import build_space
from codegen.triton.candidate import candidate_kernels
from codegen.triton.compile import Resources
from codegen.triton.compile_cache import CompileCache
from codegen.triton.kernels import KernelSource, Launch, Pointer

pytest.importorskip("triton", reason="triton is not installed")

RESOURCES = Resources(
    num_registers=64,
    spilled_bytes=0,
    shared_bytes=16384,
    num_threads=128,
    num_instructions=900,
    num_matrix_instructions=64,
    widest_load_bits=128,
)
SM80 = GPU_TARGETS["cuda_sm80"]


def a_kernel(precision: Precision | None = None, sketch: str = "dot") -> KernelSource:
    target = replace(SM80, precision=precision or Precision())
    space = build_space(Matmul(m=512, k=512, n=64, bias=True).program(), target)
    candidates = space.sample(50, np.random.default_rng(0))
    chosen = [space.named(candidates, row) for row in range(50)]
    return candidate_kernels(space, next(c for c in chosen if c["sketch"] == sketch))[0]


def test_a_kernel_source_says_what_its_pointers_point_to() -> None:
    kernel = a_kernel(Precision("float16"))
    assert kernel.pointers == (
        Pointer("a_ptr", "float16", 512 * 512 * 2),
        Pointer("b_ptr", "float16", 512 * 64 * 2),
        Pointer("bias_ptr", "float16", 64 * 2),
        Pointer("y_ptr", "float16", 512 * 64 * 2),
    )
    assert kernel.text.startswith("import triton\nimport triton.language as tl\n")
    assert "\n@triton.jit\ndef matmul_kernel(" in kernel.text


def test_a_workspace_is_float32_whatever_the_storage() -> None:
    kernel = a_kernel(Precision("float16"), "dot.split_k")
    elements = {pointer.parameter: pointer.element for pointer in kernel.pointers}
    assert elements == {"a_ptr": "float16", "b_ptr": "float16", "partial_ptr": "float32"}


def test_what_was_put_is_found(tmp_path: Path) -> None:
    cache = CompileCache(tmp_path)
    key = cache.key(a_kernel(), SM80)
    assert cache.get(key) is None
    cache.put(key, RESOURCES)
    assert CompileCache(tmp_path).get(key) == RESOURCES
    cache.put(key, "CompilationError: no")
    assert cache.get(key) == "CompilationError: no"


def test_everything_that_decides_a_result_changes_the_key(tmp_path: Path) -> None:
    cache, kernel = CompileCache(tmp_path), a_kernel()
    launch = Launch(num_warps=kernel.launch.num_warps * 2, num_stages=kernel.launch.num_stages)
    others = [
        cache.key(replace(kernel, text=kernel.text + "\n"), SM80),
        cache.key(replace(kernel, launch=launch), SM80),
        cache.key(replace(kernel, blocks={**kernel.blocks, "BLOCK_K": 7}), SM80),
        cache.key(a_kernel(Precision("float16")), SM80),
        cache.key(kernel, GPU_TARGETS["cuda_sm90"]),
        cache.key(kernel, GPU_TARGETS["rocm_gfx942"]),
    ]
    assert len({cache.key(kernel, SM80), *others}) == 7
    assert cache.key(kernel, replace(SM80, name="mine")) == cache.key(kernel, SM80)


@pytest.mark.parametrize("damage", ["cut", "changed", "empty", "another kind"])
def test_a_damaged_entry_is_not_taken(tmp_path: Path, damage: str) -> None:
    cache = CompileCache(tmp_path)
    key = cache.key(a_kernel(), SM80)
    cache.put(key, RESOURCES)
    [path] = tmp_path.rglob("*.json")
    text = path.read_text()
    texts = {"cut": text[:-9], "changed": text.replace("16384", "16385"), "empty": "", "another kind": "[]"}
    path.write_text(texts[damage])
    assert cache.get(key) is None
    cache.put(key, RESOURCES)
    assert cache.get(key) == RESOURCES
    assert [entry.suffix for entry in tmp_path.rglob("*") if entry.is_file()] == [".json"]
