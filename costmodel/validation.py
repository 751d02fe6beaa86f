"""The tasks that choose the weights of a training: apart from those that it learns from."""

from __future__ import annotations

import math

import numpy as np
from torch import nn

from costmodel.dataset import FeatureDataset
from costmodel.metrics import average, task_metrics
from costmodel.network import score_in_blocks


def divided(
    data: FeatureDataset, fraction: float, rng: np.random.Generator
) -> tuple[FeatureDataset, FeatureDataset | None]:
    """The tasks to learn from, and those to validate on if there are to be any."""
    if not fraction:
        return data, None  # nothing is drawn, so that the generator's state does not depend on the option
    learning, validation = data.divided(fraction, rng)
    return learning, validation if validation.tasks else None


def quality_of(network: nn.Module, data: FeatureDataset) -> float:
    """The pairwise accuracy, the mean over tasks."""
    tasks = [task_metrics(score_in_blocks(network, task.trees), task.labels) for task in data.tasks]
    accuracy = average(tasks)["pairwise_accuracy"]
    return accuracy if math.isfinite(accuracy) else -math.inf
