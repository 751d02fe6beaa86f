"""The training loop: what it sees, and that it repeats."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from costmodel import precision
from costmodel import train as training
from costmodel.augmentation import with_exchanged_operands
from costmodel.dataset import FeatureDataset, TaskFeatures
from costmodel.encoders.treegru import TreeGRUConfig
from costmodel.features.columns import NODE_COLUMNS, column_index
from costmodel.model import Scores
from costmodel.network import Dropout
from costmodel.neural import NeuralModel
from costmodel.precision import arithmetic
from costmodel.steps import epoch_steps
from costmodel.train import RefitConfig, TrainConfig, schedule
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
    steps = epoch_steps(data, 8, 50, np.random.default_rng(0))
    rows = np.concatenate([step.rows[step.rows >= 0] for step in steps])
    assert len(set(rows.tolist())) == len(rows)
    assert len(rows) == 200  # the last 20 of each task are less than half a piece


def test_a_row_holds_candidates_of_one_task_with_their_labels() -> None:
    data = dataset("matmul", "conv2d")
    labels = np.concatenate([each.labels for each in data.tasks])
    for step in epoch_steps(data, 8, 50, np.random.default_rng(0)):
        for rows, given in zip(step.rows, step.labels, strict=True):
            real = rows >= 0
            assert len(set((rows[real] // 120).tolist())) == 1
            np.testing.assert_allclose(given[real], labels[rows[real]], rtol=1e-6)


def test_validation_keeps_the_best_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    epochs: list[tuple[float, torch.Tensor]] = []
    judge = training.quality_of

    def watched(score: partial[Scores], data: FeatureDataset) -> float:
        (network,) = score.args
        epochs.append((judge(score, data), network.score.weight.detach().clone()))
        return epochs[-1][0]

    monkeypatch.setattr(training, "quality_of", watched)
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


def test_gradients_are_as_long_as_clip_norm_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    norms: list[float] = []

    class Watched(torch.optim.AdamW):
        def step(self, closure: None = None) -> None:  # type: ignore[override]
            gradients = [each.grad.flatten() for group in self.param_groups for each in group["params"]]
            norms.append(float(torch.cat(gradients).norm()))
            super().step(closure)

    monkeypatch.setattr(torch.optim, "AdamW", Watched)
    config = TrainConfig(num_epochs=4, candidates_per_task=40, clip_norm=1e6)
    losses(config)
    free = norms.copy()
    norms.clear()
    losses(replace(config, clip_norm=0.5 * max(free)))
    assert max(norms) == pytest.approx(0.5 * max(free), rel=1e-4)
    assert min(norms) < 0.9 * max(norms)  # shorter ones stay as they are


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
    for sizes in ([3], [64], [128], [320], [576], [640], [832], [64, 3, 320]):
        data = FeatureDataset(tuple(task("matmul", num) for num in sizes))
        training = config.training(sizes)
        steps = training.num_epochs * len(
            epoch_steps(data, training.tasks_per_step, training.candidates_per_task, np.random.default_rng(0))
        )
        assert 50 <= steps <= 60


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("num_epochs", 0),
        ("learning_rate", -1.0),
        ("weight_decay", -1.0),
        ("weight_decay", float("nan")),
        ("warmup_fraction", 1.0),
        ("warmup_fraction", -0.1),
        ("candidates_per_task", 1),
        ("patience", 3),
        ("precision", "float16"),
        ("exchange_probability", 1.5),
    ],
)
def test_settings_that_cannot_be_are_refused(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"^{field} must .*{value}'?$"):
        TrainConfig(**{field: value})  # type: ignore[arg-type]


def test_training_ends_when_the_validation_tasks_have_gained_nothing_for_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    qualities = iter([0.5, 0.7, 0.6, 0.7, 0.9])
    monkeypatch.setattr(training, "quality_of", lambda network, data: next(qualities))
    done: list[int] = []
    config = TrainConfig(num_epochs=5, candidates_per_task=64, validation_fraction=0.4, patience=2)
    NeuralModel(SMALL, config).fit(
        dataset("matmul", "small_matmul", "conv2d"),
        np.random.default_rng(0),
        lambda step, of, loss: done.append(step / of),
    )
    assert done[-1] == pytest.approx(4 / 5)


def test_bfloat16_is_used_until_the_learning_rate_has_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[bool] = []

    def watched(*, is_bfloat16: bool) -> AbstractContextManager[None]:
        used.append(is_bfloat16)
        return arithmetic(is_bfloat16=is_bfloat16)

    monkeypatch.setattr(training, "check_bfloat16", lambda steps: [step() for step in steps])
    monkeypatch.setattr(training, "arithmetic", watched)
    seen = losses(TrainConfig(num_epochs=6, candidates_per_task=40, precision="bfloat16_first"))
    assert np.mean(seen[-3:]) < np.mean(seen[:3])
    switch = used.index(False, 2)
    assert True in used[:switch]
    assert not any(used[switch:])


def test_bfloat16_is_refused_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    config = TrainConfig(num_epochs=1, precision="bfloat16_first")
    with monkeypatch.context() as patched:
        patched.setattr(precision, "INSTRUCTIONS", ("no_such_instruction",))
        with pytest.raises(ValueError, match="refused: this CPU has none of no_such_instruction"):
            losses(config)
    monkeypatch.setattr(precision, "INSTRUCTIONS", ("avx2",))
    monkeypatch.setattr(precision, "_times", lambda step: (2e-3, 1e-3))
    with pytest.raises(ValueError, match=r"takes 2\.0 ms in bfloat16 and 1\.0 ms in float32"):
        losses(config)


def test_exchanged_operands_are_each_others_and_nothing_else_changes() -> None:
    trees = task("matmul").trees
    changed = with_exchanged_operands(trees, 1.0, np.random.default_rng(0))
    back = with_exchanged_operands(changed, 1.0, np.random.default_rng(0))
    first = column_index(NODE_COLUMNS, "buffer1_touched")
    second = column_index(NODE_COLUMNS, "buffer2_touched")
    kept = [
        number for number, column in enumerate(NODE_COLUMNS) if column.name[:7] not in ("buffer1", "buffer2")
    ]
    for before, after, again in zip(trees.groups, changed.groups, back.groups, strict=True):
        np.testing.assert_array_equal(after.nodes[..., first], before.nodes[..., second])
        np.testing.assert_array_equal(after.nodes[..., kept], before.nodes[..., kept])
        np.testing.assert_array_equal(again.nodes, before.nodes)
    half = with_exchanged_operands(trees, 0.5, np.random.default_rng(0))
    same = [(a.nodes == b.nodes).all(axis=(1, 2)) for a, b in zip(trees.groups, half.groups, strict=True)]
    assert 0 < np.concatenate(same).mean() < 1


def test_dropout_changes_the_steps_alone_and_repeats() -> None:
    config = TrainConfig(num_epochs=3, tasks_per_step=2, candidates_per_task=32, dropout=0.5)
    assert losses(config) == losses(config)
    assert losses(config)[0] != losses(replace(config, dropout=0.0))[0]
    assert np.mean(losses(replace(config, num_epochs=10))[-3:]) < np.mean(losses(config)[:3])
    trained = NeuralModel(SMALL, config)
    trained.fit(dataset("matmul", "conv2d"), np.random.default_rng(0))
    trees = task("matmul").trees
    np.testing.assert_array_equal(trained.score(trees), trained.score(trees))


def test_a_share_of_units_is_left_out_and_the_mean_stays() -> None:
    units = torch.ones(200, 500)
    kept = Dropout(0.25, torch.Generator().manual_seed(0))(units)
    assert kept.unique().tolist() == pytest.approx([0.0, 1 / 0.75])
    assert float(kept.mean()) == pytest.approx(1.0, abs=0.01)
    with pytest.raises(ValueError, match=r"dropout must be in \[0, 1\), got 1"):
        TrainConfig(dropout=1.0)
