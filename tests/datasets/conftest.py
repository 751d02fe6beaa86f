"""Small real records."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from codegen.measure.measurement import Failure, FailureKind, Measurement
from codegen.target import Target
from datasets.record import Record, text_hash

MakeRecord = Callable[..., Record]


@pytest.fixture
def target() -> Target:
    return make_target("here", vector_lanes=16)


@pytest.fixture
def other_target() -> Target:
    return make_target("elsewhere", vector_lanes=8)


@pytest.fixture
def make_record(target: Target) -> MakeRecord:
    """A record of candidate ``tile`` of task ``task``; ``failure`` is a kind, other fields as in Record."""

    def make(
        tile: int = 8,
        times_s: tuple[float, ...] = (2e-3, 1e-3, 3e-3),
        failure: FailureKind | None = None,
        minute: int = 0,
        task: str = "task_a",
        program: str | None = None,
        **fields: Any,
    ) -> Record:
        text = f"program any\ninput {program or task}\n"
        failed = None if failure is None else Failure(failure, f"{failure} happened", "repeat me")
        values: dict[str, Any] = {
            "task": task,
            "operator": "matmul",
            "parameters": {"m": int(text_hash(text)[:6], 16), "k": 32, "transpose_a": False},
            "program_hash": text_hash(text),
            "program_text": text,
            "target": target,
            "sketch": "tiled",
            "knobs": {"tile_m": tile, "tile_n": 4},
            "measurement": Measurement(() if failed else times_s, failed, 0.01, 0.1, 0.5, 0.9),
            "source": "random",
            "seed": 0,
            "measured_at": f"2025-01-31T12:{minute:02}:00.000000+00:00",
            "code_version": "v1",
        }
        return Record(**{**values, **fields})

    return make


def make_target(name: str, vector_lanes: int) -> Target:
    return Target(
        name=name,
        cpu="a cpu",
        llvm_cpu="x86-64-v3",
        llvm_features="+avx2",
        vector_lanes=vector_lanes,
        num_vector_registers=16,
        num_threads=2,
        l1_bytes=32768,
        l2_bytes=1 << 20,
        l3_bytes=1 << 24,
    )
