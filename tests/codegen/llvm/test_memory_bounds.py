"""Kernels read nothing outside their operands, however loads are widened."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("lanes", [8, 16])
@pytest.mark.parametrize(("width", "padding"), [(7, 1), (14, 1), (28, 1), (33, 0), (36, 1), (40, 2)])
def test_strided_rows_stay_between_their_fences(lanes: int, width: int, padding: int) -> None:
    command = [sys.executable, "-m", "tests.codegen.llvm.fenced_memory", str(lanes), str(width), str(padding)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-2000:]
