"""The tasks that choose the weights of a training: apart from those that it learns from."""

from __future__ import annotations

import numpy as np
from torch import nn

from costmodel.dataset import FeatureDataset
from costmodel.metrics import average, task_metrics
from costmodel.network import score_in_blocks


def divided(
    data: FeatureDataset, fraction: float, rng: np.random.Generator
) -> tuple[FeatureDataset, FeatureDataset | None]:
    """The tasks to learn from, and those to validate on if there are to be any.

    Raises:
        ValueError: nothing could be validated on: without a comparison every epoch would look worse than the
            one before it, and ``patience`` would end the training.
    """
    if not fraction:
        return data, None  # nothing is drawn, so that the generator's state does not depend on the option
    learning, validation = data.divided(fraction, rng)
    if not validation.tasks:
        raise ValueError(
            f"{data.share_of_none('validation_fraction', fraction)}, or give 0 for no validation"
        )
    if all(len(np.unique(task.labels)) < 2 for task in validation.tasks):
        raise ValueError(
            f"validation_fraction={fraction} of {len(data.tasks)} tasks keeps {len(validation.tasks)} apart, "
            "all candidates of which are equally fast: nothing to compare; give a larger one, or 0 for none"
        )
    return learning, validation


def quality_of(network: nn.Module, data: FeatureDataset) -> float:
    """The pairwise accuracy, the mean over the tasks that hold pairs."""
    tasks = [task_metrics(score_in_blocks(network, task.trees), task.labels) for task in data.tasks]
    return average(tasks)["pairwise_accuracy"]
