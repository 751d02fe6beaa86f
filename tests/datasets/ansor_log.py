"""Lines of a measure log of TVM's auto_scheduler, for a matrix product with and without a cache."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

WORKLOAD = '["matmul", 512, 1024, 64, "float32"]'
TARGET = "llvm -keys=cpu -link-params=0 -mcpu=core-avx2 -model=e5-2673"
HARDWARE = [16, 64, 64, 0, 0, 0, 0, 0]
TIME_S = 0.002


def cached(
    rows: Sequence[int] = (1, 64, 8), unroll: int = 64, num_fused: int = 4, loop: int = 3
) -> list[list[Any]]:
    """Steps that write to a cache: ``rows`` are the lengths of its first split, ``loop`` is where it is."""
    return [
        ["CHW", 2, "local"],
        ["SP", 2, 0, 512, list(rows), 1],
        ["SP", 2, 4, 64, [2, 32, 1], 1],
        ["SP", 2, 8, 1024, [16], 1],
        ["RE", 2, [0, 4, 1, 5, 8, 2, 6, 9, 3, 7]],
        ["FSP", 3, 0, 1, 2],
        ["FSP", 3, 3, 2, 2],
        ["RE", 3, [0, 3, 1, 4, 2, 5]],
        ["CA", 2, 3, loop],
        ["FU", 3, list(range(num_fused))],
        ["AN", 3, 0, 3],
        ["PR", 2, 0, f"auto_unroll_max_step${unroll}"],
        ["AN", 2, 9, 2],
        ["AN", 3, 6 - num_fused, 2],
    ]


def plain(rows: int = 8, annotation: int = 3) -> list[list[Any]]:
    """Steps without a cache, and without unrolling."""
    return [["SP", 2, 0, 512, [rows], 1], ["FU", 2, [0, 1]], ["AN", 2, 0, annotation]]


def every_kind() -> list[list[Any]]:
    """A step of each kind that ``cached`` lacks, as logs of GPUs have most of them."""
    return [
        ["CI", 4],
        ["CR", 5],
        ["CHR", 1, "shared", [2]],
        ["FFSP", 1, 0, [1, 2], 1, 1],
        ["SA", 1, 0, 16, 8],
        ["RF", 3, 1, 0],
        ["PR", 3, 0, "debug_skip_region"],
    ]


def line(
    steps: Sequence[object] = (),
    costs: Sequence[object] = (TIME_S,),
    error: object = 0,
    workload: str = WORKLOAD,
    target: str = TARGET,
    all_cost: object = 0.5,
    version: object = "v0.6",
) -> str:
    """One record."""
    inputs = [[workload, target, HARDWARE, "", 1, []], [[], list(steps)]]
    return json.dumps({"i": inputs, "r": [list(costs), error, all_cost, 1613370000], "v": version})


def failed(steps: Sequence[object], error: int = 4, **others: Any) -> str:
    """One record of a failure."""
    return line(steps, [1e10], error, **others)
