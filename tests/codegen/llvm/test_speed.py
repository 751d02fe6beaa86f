"""A register-tiled matmul comes near the peak of fused multiply-adds, and compiles quickly."""

from __future__ import annotations

import statistics

import numpy as np
import pytest

from codegen.ir.loops import LoopProgram, Scope
from codegen.llvm.build import compile_program
from codegen.measure.detect import detect_target
from codegen.target import Target
from tests.codegen.llvm.loop_building import at, binary, load, program, serial, store, unrolled, vector
from tests.codegen.llvm.tiled_programs import tiled_matmul

pytestmark = pytest.mark.slow
SIZE = 512
STEPS = 20_000


def _peak_loop(target: Target) -> LoopProgram:
    """Products of cached values into twelve vectors, enough to hide an addition's latency."""
    lanes = 2 * target.vector_lanes
    product = binary("mul", load("a", "r"), load("b", "v"))

    def tile(statement: object) -> object:
        return unrolled("r", 6, vector("v", lanes, statement))  # type: ignore[arg-type]

    return program(
        {
            "a": (Scope.INPUT, (6,)),
            "b": (Scope.INPUT, (lanes,)),
            "y": (Scope.OUTPUT, (6, lanes)),
            "acc": (Scope.REGISTER, (6, lanes)),
        },
        tile(store("acc", at("r", "v"), 0.0)),  # type: ignore[arg-type]
        serial("k", STEPS, tile(store("acc", at("r", "v"), product, "sum"))),  # type: ignore[arg-type]
        tile(store("y", at("r", "v"), load("acc", "r", "v"))),  # type: ignore[arg-type]
    )


def test_a_tiled_matmul_runs_near_peak() -> None:
    target = detect_target(num_threads=1)
    lanes = target.vector_lanes
    rows = 14 if lanes == 16 else 6
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((SIZE, SIZE), dtype=np.float32) for _ in range(2))
    # One more column than a power of two, so that the rows of a do not share cache sets.
    a = np.ascontiguousarray(np.pad(a, ((0, 0), (0, 16))))
    b = np.pad(b, ((0, 16), (0, 0)))
    loops = tiled_matmul(SIZE, SIZE, SIZE + 16, rows, 2 * lanes, 264, 2)
    bound = compile_program(loops, target).bind(b=b)
    peak = compile_program(_peak_loop(target), target).bind()
    y, small = np.empty((SIZE, SIZE), np.float32), np.zeros((6, 2 * lanes), np.float32)
    ratios = []
    for _ in range(60):
        flops_per_s = 2 * SIZE * SIZE * (SIZE + 16) / bound.time_calls(1, a, out=y)
        seconds = peak.time_calls(1, np.zeros(6, np.float32), np.zeros(2 * lanes, np.float32), out=small)
        ratios.append(flops_per_s / (24 * lanes * STEPS / seconds))
    assert statistics.median(ratios) > 0.85, sorted(ratios)
    np.testing.assert_allclose(y, a @ b, rtol=0, atol=1e-3)
