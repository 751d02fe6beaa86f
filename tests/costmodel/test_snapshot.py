"""A training that was stopped goes on as if it had not been; one of anything else is refused."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from costmodel import train as training
from costmodel.dataset import FeatureDataset
from costmodel.encoders.transformer import TransformerConfig
from costmodel.encoders.treegru import TreeGRUConfig
from costmodel.network import EncoderConfig, Ranker
from costmodel.neural import NeuralModel
from costmodel.train import TrainConfig, seed_of
from tests.costmodel.synthetic import dataset

SMALL = TreeGRUConfig(hidden=8, readout=8)
LONG = TrainConfig(
    num_epochs=4,
    tasks_per_step=2,
    candidates_per_task=32,
    validation_fraction=0.4,
    exchange_probability=0.5,
    dropout=0.2,
)


class Renamed(TreeGRUConfig):
    """The same sizes under another name."""

    name = "renamed"


def assert_same_weights(first: NeuralModel, second: NeuralModel) -> None:
    for name, array in second.state().arrays.items():
        np.testing.assert_array_equal(first.state().arrays[name], array, err_msg=name)


class StopAt:
    """Interrupts a training before some step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def __call__(self, done: int, of: int, loss: float) -> None:
        if done == self.step:
            raise KeyboardInterrupt


@pytest.mark.parametrize("share", [0.4, 0.6, 0.99])
def test_a_training_that_was_stopped_ends_as_if_it_had_not_been(tmp_path: Path, share: float) -> None:
    data = dataset("matmul", "small_matmul", "conv2d")
    steps: list[int] = []
    whole = NeuralModel(SMALL, LONG)
    whole.fit(data, np.random.default_rng(3), lambda done, of, loss: steps.append(of))
    resumed = NeuralModel(SMALL, LONG)
    resumed.snapshot = tmp_path / "training.safetensors"
    with pytest.raises(KeyboardInterrupt):
        resumed.fit(data, np.random.default_rng(3), StopAt(int(share * steps[0])))
    first: list[int] = []
    resumed.fit(data, np.random.default_rng(3), lambda done, of, loss: first.append(done))
    assert first[0] > 1
    assert_same_weights(resumed, whole)


def test_a_snapshot_of_another_training_is_refused(tmp_path: Path) -> None:
    model = NeuralModel(SMALL, TrainConfig(num_epochs=1))
    model.snapshot = tmp_path / "training.safetensors"
    model.fit(dataset("matmul"), np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"training\.safetensors is of a training with other data"):
        model.fit(dataset("conv2d"), np.random.default_rng(0))
    with pytest.raises(ValueError, match="other data or options"):
        model.fit(dataset("matmul"), np.random.default_rng(1))
    model.snapshot.write_bytes(b"nothing")
    with pytest.raises(ValueError, match="no snapshot of a training"):
        model.fit(dataset("matmul"), np.random.default_rng(0))


def test_a_snapshot_judged_on_other_tasks_is_refused(tmp_path: Path) -> None:
    data, rng = dataset("matmul", "small_matmul", "conv2d"), np.random.default_rng
    model = NeuralModel(SMALL, LONG)
    model.snapshot = tmp_path / "training.safetensors"
    model.fit(data, rng(3))
    seeded = rng(3)
    seed_of(seeded)  # the weights'
    (judging,) = data.divided(LONG.validation_fraction, seeded)[1].tasks
    otherwise = replace(judging, latency_s=judging.latency_s[::-1])
    other = FeatureDataset(tuple(otherwise if each is judging else each for each in data.tasks))
    with pytest.raises(ValueError, match="other data or options"):
        model.fit(other, rng(3))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            TransformerConfig(hidden=8, num_heads=4, readout=8),
            TransformerConfig(hidden=8, num_heads=2, readout=8),
        ),
        (TreeGRUConfig(hidden=8, readout=8), Renamed(hidden=8, readout=8)),
    ],
)
def test_a_snapshot_of_another_encoder_of_the_same_shapes_is_refused(
    tmp_path: Path, before: EncoderConfig, after: EncoderConfig
) -> None:
    shapes = [[p.shape for p in Ranker(config).parameters()] for config in (before, after)]
    assert shapes[0] == shapes[1]
    data, config = dataset("matmul"), TrainConfig(num_epochs=1)
    for encoder in (before, before, after):
        model = NeuralModel(encoder, config)
        model.snapshot = tmp_path / "training.safetensors"
        if encoder is after:
            with pytest.raises(ValueError, match="other data or options"):
                model.fit(data, np.random.default_rng(0))
        else:
            model.fit(data, np.random.default_rng(0))


def test_a_snapshot_is_on_disk_before_it_takes_the_place_of_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[tuple[str, int]] = []
    replace_file = os.replace

    def watched(source: Path, target: Path) -> None:
        events.append(("replaced", source.stat().st_size))
        replace_file(source, target)

    monkeypatch.setattr(os, "fsync", lambda file: events.append(("stored", os.fstat(file).st_size)))
    monkeypatch.setattr(os, "replace", watched)
    model = NeuralModel(SMALL, TrainConfig(num_epochs=2))
    model.snapshot = tmp_path / "training.safetensors"
    model.fit(dataset("matmul"), np.random.default_rng(0))
    size = model.snapshot.stat().st_size
    assert events == 2 * [("stored", size), ("replaced", size)]


def test_a_training_in_bfloat16_that_goes_on_does_not_ask_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checks: list[int] = []
    monkeypatch.setattr(training, "check_bfloat16", lambda steps: checks.append(1))
    config = TrainConfig(num_epochs=4, tasks_per_step=2, candidates_per_task=32, precision="bfloat16_first")
    data = dataset("matmul", "conv2d")
    steps: list[int] = []
    whole = NeuralModel(SMALL, config)
    whole.fit(data, np.random.default_rng(3), lambda done, of, loss: steps.append(of))
    resumed = NeuralModel(SMALL, config)
    resumed.snapshot = tmp_path / "training.safetensors"
    with pytest.raises(KeyboardInterrupt):
        resumed.fit(data, np.random.default_rng(3), StopAt(int(0.4 * steps[0])))
    assert len(checks) == 2
    resumed.fit(data, np.random.default_rng(3))
    assert len(checks) == 2
    assert_same_weights(resumed, whole)
