"""Tasks that are kept apart from those that a training learns from, and how well they are ranked."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from costmodel.batching import TreeBatch
from costmodel.dataset import FeatureDataset
from costmodel.metrics import average, task_metrics
from costmodel.model import Scores


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
        raise ValueError(f"{none_apart(data, 'validation_fraction', fraction)}, or give 0 for no validation")
    if all(len(np.unique(task.labels)) < 2 for task in validation.tasks):
        raise ValueError(
            f"validation_fraction={fraction} of {len(data.tasks)} tasks keeps {len(validation.tasks)} apart, "
            "all candidates of which are equally fast: nothing to compare; give a larger one, or 0 for none"
        )
    return learning, validation


def none_apart(data: FeatureDataset, name: str, fraction: float) -> str:
    """A sentence for an option of this name, a fraction by which ``FeatureDataset.divided`` keeps none."""
    num = len(data.groups)
    advice = f"{name}={1 / num:.2g} keeps one" if num > 1 else "one group cannot be divided"
    groups = f"{num} group{'s' * (num != 1)} of tasks alike"
    return f"{name}={fraction} of {groups} keeps none apart; {advice}"


def quality_of(score: Callable[[TreeBatch], Scores], data: FeatureDataset) -> float:
    """The pairwise accuracy, the mean over the tasks that hold pairs; NaN if none does."""
    tasks = [task_metrics(score(task.trees), task.labels) for task in data.tasks]
    return average(tasks)["pairwise_accuracy"]
