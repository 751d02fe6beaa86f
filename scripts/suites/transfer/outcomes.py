"""What a network, taught in several ways, makes of new tasks as their own measurements come in."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from costmodel.dataset import FeatureDataset, TaskFeatures
from costmodel.global_local import GlobalLocalModel
from costmodel.metrics import task_metrics
from costmodel.model import CostModel
from costmodel.neural import NeuralModel
from scripts.learning.guide import open_trained
from scripts.options.models import ModelOption, network_names
from scripts.running.display import progress

WAYS = ("global", "local", "fine_tuned", "global_local")
TAUGHT = tuple(way for way in WAYS if way != "local")
"""Those that know other tasks."""

MIN_LEFT = 16
"""Candidates that must be left to judge on."""


@dataclass(frozen=True, kw_only=True)
class TransferConfig:
    """``num_measured`` candidates of each task teach, drawn ``num_draws`` times; the rest judges."""

    num_measured: list[int] = field(default_factory=lambda: [8, 32, 96])
    num_draws: int = 5

    def __post_init__(self) -> None:
        if not self.num_measured or min(self.num_measured) < 2 or self.num_draws < 2:
            raise ValueError(
                "transfer.num_measured and transfer.num_draws must be at least 2, got "
                f"{self.num_measured} and {self.num_draws}"
            )


@dataclass(frozen=True)
class Outcome:
    """Pairwise accuracy on what was not learnt from.

    ``way``: global, what was learnt from other tasks alone; local, the same model from this task's
    measurements alone; fine_tuned, the first trained on by these; global_local, the first plus a correction.
    ``task`` is the label and ``group`` the group of ``TaskFeatures``.
    """

    task: str
    group: str
    num_measured: int
    draw: int
    way: str
    pairwise_accuracy: float


def open_network(option: ModelOption, loss: Any, checkpoint: str) -> NeuralModel:
    """The trained network that is tuned on new tasks, and corrected by trees there.

    Raises:
        ValueError: the model is no single network, or it is not trained.
    """
    untrained = option.build(loss)
    if not isinstance(untrained, NeuralModel):
        raise ValueError(
            "suite=transfer needs a network that can be trained on and corrected: model must be one of "
            f"{', '.join(network_names())}, got {untrained.name}"
        )
    model = open_trained(option, loss, checkpoint)
    assert isinstance(model, NeuralModel)
    return model


def transfer_outcomes(
    model: NeuralModel, fresh: CostModel, data: FeatureDataset, config: TransferConfig, seed: int
) -> list[Outcome]:
    """All ways on all tasks that are large enough; ``fresh`` is the model before any training."""
    tasks = [t for t in data.learnable().tasks if len(t) >= min(config.num_measured) + MIN_LEFT]
    if not tasks:
        raise ValueError(
            f"no task has {min(config.num_measured) + MIN_LEFT} candidates, {MIN_LEFT} more than the fewest "
            f"of transfer.num_measured={config.num_measured}"
        )
    outcomes = []
    jobs = list(itertools.product(tasks, config.num_measured, range(config.num_draws)))
    with progress("transfer") as tick:
        for done, (task, num, draw) in enumerate(jobs, start=1):
            if len(task) >= num + MIN_LEFT:
                outcomes += _outcomes(model, fresh, task, num, draw, seed)
            tick(done, len(jobs), task.label)
    return outcomes


def _outcomes(
    model: NeuralModel, fresh: CostModel, task: TaskFeatures, num: int, draw: int, seed: int
) -> list[Outcome]:
    order = np.random.default_rng([seed, draw, num]).permutation(len(task))
    seen, rest = task.take(np.sort(order[:num])), task.take(np.sort(order[num:]))
    # Nothing can be learnt from failures alone, nor judged on times that are all the same.
    if not np.isfinite(seen.latency_s).any() or len(np.unique(rest.labels)) < 2:
        return []
    data = FeatureDataset((seen,))
    models: dict[str, CostModel] = {
        "global": model,
        "local": fresh.tuned(data, np.random.default_rng(seed)),
        "fine_tuned": model.tuned(data, np.random.default_rng(seed)),
        "global_local": GlobalLocalModel(model).tuned(data, np.random.default_rng(seed)),
    }
    accuracies = {
        way: task_metrics(each.score(rest.trees), rest.labels)["pairwise_accuracy"]
        for way, each in models.items()
    }
    return [Outcome(task.label, task.group, num, draw, way, value) for way, value in accuracies.items()]
