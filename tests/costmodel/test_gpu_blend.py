"""A learned model beside the analytic one on the space of a GPU."""

from __future__ import annotations

import numpy as np
import pytest

from codegen.gpu_target import GPU_TARGETS, GpuTarget
from codegen.ops import Matmul
from codegen.schedule import Candidates, Space, build_space
from costmodel.dataset import FeatureDataset, TaskFeatures
from costmodel.encoders.treegru import TreeGRUConfig
from costmodel.features.featurise import featurise
from costmodel.gpu_blend import GpuBlend
from costmodel.gpu_prior import MIN_TRIALS, GpuPrior
from costmodel.metrics import task_metrics
from costmodel.neural import NeuralModel
from costmodel.predictor import Predictor
from costmodel.train import RefitConfig, TrainConfig


def space_of(size: int) -> Space[GpuTarget]:
    return build_space(Matmul(m=size, k=size, n=size).program(), GPU_TARGETS["cuda_sm90"])


def sample(space: Space[GpuTarget], num: int) -> Candidates:
    """Candidates that the analytic model expects to fit."""
    drawn = space.canonical(space.sample(2 * num, np.random.default_rng(0)))
    return drawn[np.flatnonzero(np.isfinite(GpuPrior(space).score(drawn)))[:num]]


def latency_s(space: Space[GpuTarget], candidates: Candidates) -> np.ndarray:
    """As the analytic model expects, but that each warp costs, of which it knows little."""
    warps = np.zeros(len(candidates))
    for number, rows in space.by_sketch(candidates):
        warps[rows] = space.values(number, candidates.positions[rows])["num_warps"]
    return np.exp(-GpuPrior(space).score(candidates).astype(np.float64)) * warps**1.5


@pytest.fixture(scope="module")
def learned() -> NeuralModel:
    model = NeuralModel(
        TreeGRUConfig(hidden=16, readout=16), TrainConfig(num_epochs=30), RefitConfig(num_steps=20)
    )
    tasks = []
    for size in (96, 160, 256, 512):
        space = space_of(size)
        candidates = sample(space, 60)
        trees, times_s = featurise(space, candidates), latency_s(space, candidates)
        tasks.append(TaskFeatures(f"matmul_{size}", trees, times_s, np.zeros((0, 2))))
    model.fit(FeatureDataset(tuple(tasks)), np.random.default_rng(0))
    return model


def test_the_score_is_the_mean_of_both_and_what_does_not_fit_comes_last(learned: NeuralModel) -> None:
    space = space_of(1024)
    drawn = space.sample(300, np.random.default_rng(1))
    blend = GpuBlend(GpuPrior(space), Predictor(learned, space))
    analytic, network = GpuPrior(space).score(drawn), learned.score(featurise(space, drawn))
    fits = np.isfinite(analytic)
    assert 0 < fits.sum() < len(drawn)
    np.testing.assert_allclose(blend.score(drawn)[fits], ((analytic + network) / 2)[fits], atol=1e-5)
    assert np.isneginf(blend.score(drawn)[~fits]).all()


def test_what_records_say_of_launches_is_learnt_and_carried_to_another_size(learned: NeuralModel) -> None:
    space = space_of(1024)
    candidates = sample(space, 200)
    labels = 1 / latency_s(space, candidates)
    labels /= labels.max()
    prior = GpuPrior(space)
    alone = task_metrics(prior.score(candidates), labels)["pairwise_accuracy"]
    blend = GpuBlend(prior, Predictor(learned, space))
    assert task_metrics(blend.score(candidates), labels)["pairwise_accuracy"] > alone + 0.05


def test_trials_teach_both(learned: NeuralModel) -> None:
    space = space_of(1024)
    candidates = sample(space, MIN_TRIALS + 10)
    blend = GpuBlend(prior := GpuPrior(space), predictor := Predictor(learned, space))
    before = prior.score(candidates), predictor.score(candidates)
    blend.refit(candidates, latency_s(space, candidates), np.zeros(len(candidates), bool))
    assert not np.allclose(prior.score(candidates), before[0])
    assert not np.allclose(predictor.score(candidates), before[1])
