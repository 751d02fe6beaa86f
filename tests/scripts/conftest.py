"""The scripts on tiny data."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from codegen.measure.measurement import Measurement
from codegen.schedule import Candidates
from scripts.tuning.measured_search import PoolMeasurer
from tests.scripts.tiny import Scripts, write_data


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A published file of four tasks."""
    return write_data(tmp_path_factory.mktemp("data") / "tiny.parquet").read_bytes()


@pytest.fixture
def equal_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every trial takes a millisecond, however busy the machine is; finalists are timed in earnest."""

    def measure(self: PoolMeasurer, candidates: Candidates) -> Iterator[Measurement]:
        return (Measurement((1e-3,)) for _ in range(len(candidates)))

    monkeypatch.setattr(PoolMeasurer, "measure", measure)


@pytest.fixture
def scripts(tmp_path: Path, tiny_data: bytes, monkeypatch: pytest.MonkeyPatch) -> Scripts:
    """Works in a fresh folder."""
    (tmp_path / "tiny.parquet").write_bytes(tiny_data)
    return Scripts(tmp_path, monkeypatch)
