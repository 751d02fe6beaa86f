"""From measured tasks to a trained model: what ``train.py``, ``evaluate.py`` and the benchmarks share."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from costmodel.dataset import FeatureDataset, dataset_of
from costmodel.feature_cache import FeatureCache
from costmodel.model import CostModel, KnowsUncertainty
from datasets.table import RecordTable
from scripts.learning.effort import Effort, Stopwatch
from scripts.running.display import progress, say


def comparable_features(
    purpose: str, table: RecordTable, cache: FeatureCache | None = None
) -> FeatureDataset:
    """Features of one side of a split, behind a progress bar; read from ``cache`` where it has them.

    Raises:
        ValueError: no task holds a comparison; found out here, it costs no training.
    """
    done = 0
    with progress(f"features to {purpose}") as tick:

        def on_task(name: str) -> None:
            nonlocal done
            done += 1
            tick(done, len(table.tasks), name)

        data = dataset_of(table, on_task, cache)
    if not data.learnable().tasks:
        raise ValueError(
            f"there is nothing to {purpose}: of the records in data.path that side of the split gets "
            f"{_counted(len(data.tasks), 'task')} with {_counted(len(data), 'candidate')}; each side needs a "
            "task with at least two candidates, not all failed: add records, or change data.test_fraction, "
            "data.held_out or data.split (within_task divides the candidates of each task)"
        )
    return data


def fit_model(
    model: CostModel, data: FeatureDataset, seed: int, on_loss: Callable[[int, float], None] | None = None
) -> Effort:
    """Train, and return what that took; ``on_loss`` hears of each step that has a loss.

    Raises:
        ValueError: the loss or the scores are no longer finite.
    """
    watch = Stopwatch()
    with progress(f"training {model.name}") as tick:

        def on_step(done: int, total: int, loss: float) -> None:
            has_loss = math.isfinite(loss)
            tick(done, total, f"loss {loss:.4f}" if has_loss else "")
            if on_loss is not None and has_loss:
                on_loss(done, loss)

        try:
            model.fit(data, np.random.default_rng(seed), on_step)
        except FloatingPointError as error:
            raise ValueError(f"training {model.name} diverged: {error}") from error
    effort = watch.elapsed()
    warn_of_intervals(model)
    if not all(np.isfinite(model.score(task.trees)).all() for task in data.tasks):
        raise ValueError(
            f"training {model.name} diverged: its scores are not finite; a lower learning_rate may help"
        )
    return effort


def warn_of_intervals(model: CostModel) -> None:
    """Say why a model that should know how sure it is does not: its coverage is left out of all tables."""
    if isinstance(model, KnowsUncertainty) and model.uncalibrated:
        say(f"warning: the intervals of {model.name} are not calibrated: {model.uncalibrated}")


def _counted(num: int, noun: str) -> str:
    return f"{num:,} {noun}{'s' * (num != 1)}"
