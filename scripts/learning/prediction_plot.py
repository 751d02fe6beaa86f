"""Predicted against measured time, over all tasks that a model is judged on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from costmodel.dataset import FeatureDataset
from costmodel.model import CostModel
from scripts.running.plotting import pyplot

FASTEST = 0.5
"""Predictions below this are drawn at the edge."""
WORST = 16.0
"""Candidates that are this many times slower than the best of their task are drawn at the edge."""

FloatArray = NDArray[np.float64]


def relative_times(model: CostModel, data: FeatureDataset) -> tuple[FloatArray, FloatArray]:
    """Measured and predicted time over the best measured time of the task, of all that did not fail.

    A score means speed up to a constant per task: that constant is what fits the task's times best.
    """
    measured, predicted = [], []
    for task in data.learnable().tasks:
        is_known = np.isfinite(task.latency_s)
        log_time = np.log(task.latency_s[is_known])
        guess = -model.score(task.trees)[is_known].astype(np.float64)
        guess += np.mean(log_time - guess)
        measured.append(np.exp(log_time - log_time.min()))
        predicted.append(np.exp(guess - log_time.min()))
    return np.concatenate(measured), np.concatenate(predicted)


def draw_predictions(path: Path, model: CostModel, data: FeatureDataset) -> None:
    """How many candidates lie where, on logarithmic axes; on the diagonal the model is right.

    The labels say that the level of each task is given, not predicted: points look better than times would.
    """
    plot = pyplot()
    measured, predicted = (np.clip(times, FASTEST, WORST) for times in relative_times(model, data))
    figure, panel = plot.subplots(figsize=(5, 4.2), layout="constrained")
    drawn = panel.hexbin(
        measured, predicted, xscale="log", yscale="log", gridsize=60, bins="log", mincnt=1, cmap="viridis"
    )
    panel.plot([FASTEST, WORST], [FASTEST, WORST], color="tab:red", linewidth=0.8)
    ticks = [FASTEST, 1, 2, 4, 8, WORST]
    for axis in (panel.xaxis, panel.yaxis):
        axis.set_ticks(ticks, [f"{tick:g}" for tick in ticks])
        axis.set_ticks([], minor=True)
    panel.set(
        xlabel="measured time / best of the task",
        ylabel=f"time predicted by {model.name} / best of the task\n(up to a constant per task)",
        title=f"{len(measured):,} candidates of {len(data.learnable().tasks)} tasks\n"
        f"(at the edges: below {FASTEST:g} or above {WORST:g})",
    )
    figure.colorbar(drawn, label="candidates")
    figure.savefig(path, dpi=120)
    plot.close(figure)
