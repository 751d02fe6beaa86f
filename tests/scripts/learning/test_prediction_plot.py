"""Predicted against measured: a model that knows the times lies on the diagonal."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from costmodel.batching import TreeBatch
from costmodel.encoders.baselines import ConstantModel
from scripts.learning.prediction_plot import draw_predictions, relative_times
from scripts.running.plotting import pyplot
from tests.costmodel.synthetic import dataset, task


class Knowing(ConstantModel):
    """Knows the times of one task, but for a constant."""

    def score(self, batch: TreeBatch) -> np.ndarray:
        return (5 - np.log(np.nan_to_num(task("matmul").latency_s, nan=1.0))).astype(np.float32)


def test_a_model_that_knows_the_times_is_on_the_diagonal() -> None:
    measured, predicted = relative_times(Knowing(), dataset("matmul"))
    assert len(measured) == np.isfinite(task("matmul").latency_s).sum()
    assert measured.min() == 1
    np.testing.assert_allclose(predicted, measured, rtol=1e-4)


def test_a_model_that_knows_nothing_predicts_one_time_for_each_task() -> None:
    data = dataset("matmul", "conv2d")
    measured, predicted = relative_times(ConstantModel(), data)
    assert len(np.unique(predicted.round(9))) == 2
    np.testing.assert_allclose(np.log(predicted).mean(), np.log(measured).mean(), rtol=1e-5)


def test_the_axes_say_that_the_level_of_a_task_is_given_and_where_far_points_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plot = pyplot()
    monkeypatch.setattr(plot, "close", lambda figure: None)
    draw_predictions(tmp_path / "predictions.png", ConstantModel(), dataset("matmul", "conv2d"))
    panel = plot.gcf().axes[0]
    monkeypatch.undo()
    plot.close("all")
    assert panel.get_ylabel() == "time predicted by constant / best of the task\n(up to a constant per task)"
    assert panel.get_title().endswith("of 2 tasks\n(at the edges: below 0.5 or above 16)")
    assert (tmp_path / "predictions.png").exists()
