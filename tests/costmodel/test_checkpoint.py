"""Checkpoints are whole, say what they are, and never load as something else."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

import costmodel.checkpoint
from costmodel.checkpoint import load_checkpoint, read_header, save_checkpoint
from costmodel.encoders.baselines import RandomModel, RooflineModel
from costmodel.encoders.treegru import TreeGRUConfig
from costmodel.ensemble import EnsembleModel
from costmodel.features.columns import FEATURES_VERSION
from costmodel.global_local import GlobalLocalModel
from costmodel.model import ModelState
from costmodel.neural import NeuralModel

SMALL = NeuralModel(TreeGRUConfig(hidden=8, readout=8))


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "models" / "treegru.safetensors"
    save_checkpoint(path, SMALL, "abc", {"epochs": 3})
    return path


def test_the_header_says_what_a_checkpoint_is(saved: Path) -> None:
    header = read_header(saved)
    assert header.model == "treegru"
    assert header.features_version == FEATURES_VERSION
    assert header.data_hash == "abc"
    assert header.config == {"hidden": 8, "readout": 8}
    assert header.notes == {"epochs": 3}
    assert [file.name for file in saved.parent.iterdir()] == [saved.name]


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_a_file_cut_short_is_refused(saved: Path, share: float) -> None:
    content = saved.read_bytes()
    saved.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match="damaged"):
        load_checkpoint(saved, SMALL)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nothing\.safetensors"):
        load_checkpoint(tmp_path / "nothing.safetensors", SMALL)


def test_another_model_is_refused_with_both_names(saved: Path) -> None:
    with pytest.raises(ValueError, match=r"'treegru'.*'roofline'"):
        load_checkpoint(saved, RooflineModel())


def test_other_features_are_refused_with_both_versions(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(costmodel.checkpoint, "FEATURES_VERSION", FEATURES_VERSION + 1)
    with pytest.raises(ValueError, match=rf"version {FEATURES_VERSION},.*{FEATURES_VERSION + 1}"):
        load_checkpoint(saved, SMALL)


def test_other_data_are_refused_with_both_hashes(saved: Path) -> None:
    with pytest.raises(ValueError, match=r"abc.*def"):
        load_checkpoint(saved, SMALL, "def")


def test_arrays_of_someone_else_are_refused(tmp_path: Path) -> None:
    save_file({"a": np.zeros(3, np.float32)}, tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match="no header"):
        load_checkpoint(tmp_path / "a.safetensors", SMALL)


def test_a_header_of_another_format_is_refused(tmp_path: Path) -> None:
    metadata = {"looprank": json.dumps({"format": 99})}
    save_file({"a": np.zeros(3, np.float32)}, tmp_path / "a.safetensors", metadata)
    with pytest.raises(ValueError, match="format 99"):
        load_checkpoint(tmp_path / "a.safetensors", SMALL)


def test_arrays_of_another_size_are_refused() -> None:
    state = SMALL.state()
    with pytest.raises(ValueError, match="do not fit"):
        SMALL.restored(ModelState({"hidden": 16, "readout": 8}, state.arrays))
    with pytest.raises(ValueError, match="hidden and readout"):
        SMALL.restored(ModelState({"width": 16}, state.arrays))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused_with_the_file_and_their_names(
    tmp_path: Path, value: float
) -> None:
    network = NeuralModel(SMALL.config)
    with torch.no_grad():
        network.network.score.weight[0, 3] = value
    path = tmp_path / "broken.safetensors"
    words = (
        r"broken\.safetensors cannot be used: the arrays \['(0\.|global\.)?score\.weight'\] hold numbers that"
    )
    for model in (network, EnsembleModel(network), GlobalLocalModel(network)):
        save_checkpoint(path, model, "abc")
        with pytest.raises(ValueError, match=words):
            load_checkpoint(path, model)


def test_a_failed_write_leaves_the_old_checkpoint(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(source: str, target: Path) -> None:
        raise OSError("disk full")

    before = saved.read_bytes()
    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        save_checkpoint(saved, RandomModel(), "abc")
    assert saved.read_bytes() == before
    assert [file.name for file in saved.parent.iterdir()] == [saved.name]
