"""Kernels read nothing outside their operands, however loads are widened."""

from __future__ import annotations

import subprocess
import sys

import pytest

LANES = pytest.mark.parametrize("lanes", [8, 16])


@LANES
@pytest.mark.parametrize(("width", "padding"), [(7, 1), (14, 1), (28, 1), (33, 0), (36, 1), (40, 2)])
def test_strided_rows_stay_between_their_fences(lanes: int, width: int, padding: int) -> None:
    assert_runs("depthwise", lanes, width, padding)


@LANES
@pytest.mark.parametrize(("rows", "columns"), [(13, 17), (31, 40), (97, 5)])
def test_tiles_that_overhang_stay_between_their_fences(lanes: int, rows: int, columns: int) -> None:
    assert_runs("matmul", lanes, rows, columns)


@LANES
@pytest.mark.parametrize(("width", "channels"), [(7, 9), (16, 8), (19, 17)])
def test_transformed_tiles_stay_between_their_fences(lanes: int, width: int, channels: int) -> None:
    assert_runs("plain", lanes, width, channels)


def assert_runs(operator: str, *sizes: int) -> None:
    """In a process of its own, which a stray read would end."""
    command = [sys.executable, "-m", "tests.codegen.llvm.fenced_memory", operator, *map(str, sizes)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-2000:]
