"""Ensembles: their mean, and intervals that hold as often as they say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from costmodel.checkpoint import load_checkpoint, save_checkpoint
from costmodel.dataset import FeatureDataset
from costmodel.encoders.gnn import GNNConfig
from costmodel.encoders.transformer import TransformerConfig
from costmodel.encoders.treegru import TreeGRUConfig
from costmodel.ensemble import EnsembleConfig, EnsembleModel
from costmodel.neural import NeuralModel
from costmodel.predictor import Predictor
from costmodel.train import TrainConfig
from scripts.learning.judgement import uncertainty_metrics
from tests.costmodel.synthetic import dataset, sample, space_of, task

TRAINING = TrainConfig(num_epochs=15, tasks_per_step=3, candidates_per_task=40)
MEMBER = TreeGRUConfig(hidden=16, readout=16)


@pytest.fixture(scope="module")
def trained() -> EnsembleModel:
    config = EnsembleConfig(num_members=3, calibration_fraction=0.4, coverage=0.8)
    model = EnsembleModel(NeuralModel(MEMBER, TRAINING), config)
    model.fit(dataset("matmul", "small_matmul", "conv2d", "depthwise", "pool2d"), np.random.default_rng(0))
    return model


def test_the_score_is_the_mean_of_members_that_differ(trained: EnsembleModel) -> None:
    trees = task("depthwise").trees
    scores = [member.score(trees) for member in trained.members]
    assert not np.allclose(scores[0], scores[1])
    np.testing.assert_allclose(trained.score(trees), np.mean(scores, axis=0), rtol=1e-5)


def test_native_scores_are_the_means_too(trained: EnsembleModel) -> None:
    predictor = Predictor(trained, space_of("conv2d"))
    candidates = sample("conv2d", 90)
    np.testing.assert_allclose(
        predictor.score(candidates), trained.score(task("conv2d", 90).trees), atol=1e-5
    )


def test_intervals_hold_on_the_calibration_tasks_as_often_as_they_say() -> None:
    config = EnsembleConfig(num_members=2, calibration_fraction=0.5, coverage=0.8)
    model = EnsembleModel(NeuralModel(MEMBER, TRAINING), config)
    data = dataset("matmul", "conv2d")
    model.fit(data, np.random.default_rng(0))
    shares = [float(model.covers(each).mean()) for each in data.tasks]
    assert min(abs(share - 0.8) for share in shares) < 0.02


@pytest.mark.parametrize("num", [0, 1])
def test_too_few_candidates_to_disagree_about_are_refused(trained: EnsembleModel, num: int) -> None:
    few = task("depthwise").take(np.arange(num))
    with pytest.raises(ValueError, match=f"at least 2 candidates of one task, got {num}"):
        trained.half_widths(few.trees)
    assert (trained.half_widths(task("depthwise").trees.take(np.arange(2))) > 0).all()


def test_widths_leave_the_constants_of_members_open(trained: EnsembleModel) -> None:
    trees, moved = task("depthwise").trees, trained.restored(trained.state())
    with torch.no_grad():
        moved.members[0].network.score.bias.add_(3.0)
    np.testing.assert_allclose(moved.half_widths(trees), trained.half_widths(trees), atol=1e-5)


def test_failures_alone_calibrate_nothing() -> None:
    failed = [
        replace(task("conv2d"), latency_s=np.full(120, np.nan), group=str(number)) for number in range(4)
    ]
    config = EnsembleConfig(num_members=2, calibration_fraction=0.2)
    model = EnsembleModel(NeuralModel(MEMBER, TrainConfig(num_epochs=1)), config)
    model.fit(FeatureDataset((task("matmul"), *failed)), np.random.default_rng(0))
    assert np.isnan(model.factor)
    assert "=0.2 keeps 1 of 5 tasks apart, none with two candidates to compare" in model.uncalibrated
    model.fit(dataset("matmul", "conv2d"), np.random.default_rng(0))
    assert "keeps none apart" in model.uncalibrated
    assert model.uncalibrated == model.tuned(dataset("pool2d"), np.random.default_rng(0)).uncalibrated


def test_coverage_and_width_are_reported(trained: EnsembleModel) -> None:
    data = dataset("small_matmul", "winograd")
    found = uncertainty_metrics(trained, data)
    assert 0 < found["coverage"] <= 1
    assert found["interval_ratio"] > 1
    assert uncertainty_metrics(NeuralModel(MEMBER), data) == {}
    assert uncertainty_metrics(EnsembleModel(NeuralModel(MEMBER)), data) == {}


def test_a_checkpoint_keeps_members_and_factor(trained: EnsembleModel, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "e.safetensors", trained, "data")
    loaded = load_checkpoint(tmp_path / "e.safetensors", EnsembleModel(NeuralModel(MEMBER)))
    trees = task("pool2d").trees
    np.testing.assert_array_equal(loaded.half_widths(trees), trained.half_widths(trees))
    assert len(loaded.members) == 3
    with pytest.raises(ValueError, match="ensemble of treegru, not of gnn"):
        load_checkpoint(tmp_path / "e.safetensors", EnsembleModel(NeuralModel(GNNConfig())))


def test_members_do_not_go_on_with_the_training_of_another_encoder(tmp_path: Path) -> None:
    heads = (TransformerConfig(hidden=8, num_heads=number, readout=8) for number in (4, 2))
    first, second = (EnsembleModel(NeuralModel(each, TrainConfig(num_epochs=1))) for each in heads)
    for model in (first, second):
        model.snapshot = tmp_path / "training.safetensors"
    first.fit(dataset("matmul", "conv2d"), np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"training-0\.safetensors is of a training with other data"):
        second.fit(dataset("matmul", "conv2d"), np.random.default_rng(0))


@pytest.mark.parametrize("options", [{"num_members": 1}, {"coverage": 1.0}, {"calibration_fraction": 1.0}])
def test_options_that_cannot_be_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        EnsembleConfig(**options)  # type: ignore[arg-type]
