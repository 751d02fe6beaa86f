"""Kernels and torch share one OpenMP runtime."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

COUNT_RUNTIMES = """
import sys
{first}
from codegen.llvm.runtime import load_openmp
path = load_openmp().path
assert ("torch" in sys.modules) == {has_torch}
import torch
maps = open("/proc/self/maps").read().splitlines()
assert len({{line.split()[-1] for line in maps if "gomp" in line and "/torch" in line}}) == 1
assert "/torch" in path, path
"""


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs /proc")
@pytest.mark.parametrize("first", ["import torch", ""])
def test_torch_and_kernels_use_one_runtime(first: str) -> None:
    pytest.importorskip("torch")
    code = COUNT_RUNTIMES.format(first=first, has_torch=bool(first))
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_without_a_runtime_the_message_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    from codegen.llvm import runtime

    monkeypatch.setattr(runtime, "_candidates", lambda: iter(["/nowhere/libgomp.so"]))
    with pytest.raises(ValueError, match="install torch or libgomp, or use a target with num_threads=1"):
        runtime.load_openmp.__wrapped__()
