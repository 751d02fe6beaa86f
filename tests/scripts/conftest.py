"""The scripts on tiny data."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scripts.tiny import Scripts, write_data


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A published file of four tasks."""
    return write_data(tmp_path_factory.mktemp("data") / "tiny.parquet").read_bytes()


@pytest.fixture
def scripts(tmp_path: Path, tiny_data: bytes, monkeypatch: pytest.MonkeyPatch) -> Scripts:
    """Works in a fresh folder."""
    (tmp_path / "tiny.parquet").write_bytes(tiny_data)
    return Scripts(tmp_path, monkeypatch)
