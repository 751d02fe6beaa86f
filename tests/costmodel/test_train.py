"""The training loop: what it sees, and that it repeats."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from costmodel import train as training
from costmodel.dataset import FeatureDataset, TaskFeatures
from costmodel.encoders.treegru import TreeGRUConfig
from costmodel.network import Ranker
from costmodel.neural import NeuralModel
from costmodel.train import RefitConfig, TrainConfig, epoch_steps, schedule
from tests.costmodel.synthetic import dataset, task

SMALL = TreeGRUConfig(hidden=8, readout=8)


def losses(config: TrainConfig, seed: int = 0) -> list[float]:
    seen: list[float] = []
    model = NeuralModel(SMALL, config)
    data = dataset("matmul", "small_matmul", "conv2d")
    model.fit(data, np.random.default_rng(seed), lambda done, of, loss: seen.append(loss))
    return seen


def test_the_loss_falls() -> None:
    seen = losses(TrainConfig(num_epochs=10, tasks_per_step=3, candidates_per_task=40))
    assert np.mean(seen[-3:]) < 0.8 * np.mean(seen[:3])


def test_a_seed_fixes_every_loss() -> None:
    config = TrainConfig(num_epochs=2, tasks_per_step=2, candidates_per_task=32)
    assert losses(config) == losses(config)
    assert losses(config) != losses(config, seed=1)


def test_an_epoch_shows_every_candidate_at_most_once_and_nearly_all() -> None:
    data = dataset("matmul", "conv2d")
    steps = epoch_steps(data, TrainConfig(candidates_per_task=50), np.random.default_rng(0))
    rows = np.concatenate([step.rows[step.rows >= 0] for step in steps])
    assert len(set(rows.tolist())) == len(rows)
    assert len(rows) == 200  # the last 20 of each task are less than half a piece


def test_a_row_holds_candidates_of_one_task_with_their_labels() -> None:
    data = dataset("matmul", "conv2d")
    labels = np.concatenate([each.labels for each in data.tasks])
    for step in epoch_steps(data, TrainConfig(candidates_per_task=50), np.random.default_rng(0)):
        for rows, given in zip(step.rows, step.labels, strict=True):
            real = rows >= 0
            assert len(set((rows[real] // 120).tolist())) == 1
            np.testing.assert_allclose(given[real], labels[rows[real]], rtol=1e-6)


def test_validation_keeps_the_best_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    epochs: list[tuple[float, torch.Tensor]] = []
    judge = training._quality

    def watched(network: Ranker, data: FeatureDataset) -> float:
        epochs.append((judge(network, data), network.score.weight.detach().clone()))
        return epochs[-1][0]

    monkeypatch.setattr(training, "_quality", watched)
    config = TrainConfig(
        num_epochs=4,
        tasks_per_step=2,
        candidates_per_task=32,
        validation_fraction=0.4,
        learning_rate=0.1,
        weight_decay=0.0,
    )
    model = NeuralModel(SMALL, config)
    model.fit(dataset("matmul", "small_matmul", "conv2d"), np.random.default_rng(0))
    best = max(epochs, key=lambda epoch: epoch[0])
    assert len({quality for quality, _ in epochs}) > 1
    torch.testing.assert_close(model.network.score.weight.detach(), best[1])


def test_progress_ends_at_the_number_of_steps() -> None:
    calls: list[tuple[int, int]] = []
    model = NeuralModel(SMALL, TrainConfig(num_epochs=2, candidates_per_task=64))
    model.fit(dataset("matmul"), np.random.default_rng(0), lambda done, of, _: calls.append((done, of)))
    assert [done for done, _ in calls] == list(range(1, len(calls) + 1))
    assert {of for _, of in calls} == {len(calls)}


def test_the_learning_rate_rises_then_falls_to_zero() -> None:
    rates = [schedule(done, 0.1) for done in np.linspace(0, 1, 101)]
    assert np.argmax(rates) == 10
    assert rates[0] < 0.02
    assert rates[-1] == pytest.approx(0)


def test_a_model_that_diverges_says_so() -> None:
    config = TrainConfig(num_epochs=3, learning_rate=1e30, clip_norm=1e30, warmup_fraction=0.0)
    with pytest.raises(FloatingPointError, match="learning_rate"):
        losses(config)


def test_tasks_that_hold_no_comparison_are_left_out() -> None:
    known = task("matmul")
    failed = TaskFeatures("f", known.trees, np.full(120, np.nan), known.repeat_pairs)
    assert FeatureDataset((failed, known)).learnable().tasks == (known,)


def test_a_refit_takes_its_number_of_steps_whatever_was_measured() -> None:
    config = RefitConfig(num_steps=60, candidates_per_step=128)
    for num in (3, 64, 128, 320, 576, 640, 832):
        data = FeatureDataset((task("matmul", num),))
        training = config.training(num)
        steps = training.num_epochs * len(epoch_steps(data, training, np.random.default_rng(0)))
        assert 50 <= steps <= 60


@pytest.mark.parametrize(
    ("field", "value"), [("num_epochs", 0), ("learning_rate", -1.0), ("candidates_per_task", 1)]
)
def test_settings_that_cannot_be_are_refused(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=field):
        TrainConfig(**{field: value})  # type: ignore[arg-type]
