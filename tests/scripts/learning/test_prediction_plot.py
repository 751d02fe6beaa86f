"""Predicted against measured: a model that knows the times lies on the diagonal."""

from __future__ import annotations

import numpy as np

from costmodel.batching import TreeBatch
from costmodel.encoders.baselines import ConstantModel
from scripts.learning.prediction_plot import relative_times
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
