"""The tasks that choose the weights: there are some, or the training does not begin."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from costmodel.dataset import FeatureDataset
from costmodel.encoders.treegru import TreeGRUConfig
from costmodel.neural import NeuralModel
from costmodel.train import TrainConfig
from tests.costmodel.synthetic import dataset, task

FOUR = ("matmul", "small_matmul", "conv2d", "depthwise")


def steps_of(data: FeatureDataset, fraction: float) -> list[int]:
    """The steps of a training that ends early."""
    config = TrainConfig(num_epochs=3, tasks_per_step=4, validation_fraction=fraction, patience=2)
    done: list[int] = []
    model = NeuralModel(TreeGRUConfig(hidden=8, readout=8), config)
    model.fit(data, np.random.default_rng(0), lambda step, of, loss: done.append(step))
    return done


def test_a_share_that_leaves_none_to_validate_on_is_refused_with_one_that_does() -> None:
    data = dataset(*FOUR)
    with pytest.raises(ValueError, match=r"validation_fraction=0\.1 of 4 .* validation_fraction=0\.25 keeps"):
        steps_of(data, 0.1)
    assert steps_of(data, 0.25)
    with pytest.raises(ValueError, match="of 1 group of tasks alike keeps none apart; one group cannot be"):
        steps_of(dataset("matmul"), 0.5)


def test_the_groups_are_counted_not_the_tasks() -> None:
    alike = FeatureDataset(tuple(replace(task(name), group="alike") for name in FOUR))
    with pytest.raises(ValueError, match=r"validation_fraction=0\.5 of 1 group of tasks"):
        steps_of(alike, 0.5)


def test_tasks_that_hold_no_comparison_cannot_validate() -> None:
    level = tuple(replace(task(name), latency_s=np.full(120, 1e-3)) for name in FOUR)
    with pytest.raises(ValueError, match=r"validation_fraction=0\.5 of 4 tasks keeps 2 apart, all"):
        steps_of(FeatureDataset(level), 0.5)
