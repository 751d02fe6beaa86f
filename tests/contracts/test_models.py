"""What holds for every cost model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from costmodel.batching import TreeBatch, TreeGroup, forest_of
from costmodel.checkpoint import load_checkpoint, save_checkpoint
from costmodel.dataset import FeatureDataset, TaskFeatures
from costmodel.encoders.baselines import ConstantModel, RandomModel, RooflineModel
from costmodel.encoders.context_treegru import ContextTreeGRUConfig
from costmodel.encoders.gnn import GNNConfig
from costmodel.encoders.gradient_boosting import GradientBoostingConfig, GradientBoostingModel
from costmodel.encoders.statement_mlp import StatementMLPConfig
from costmodel.encoders.transformer import TransformerConfig
from costmodel.encoders.treegru import TreeGRUConfig
from costmodel.encoders.treelstm import TreeLSTMConfig
from costmodel.ensemble import EnsembleConfig, EnsembleModel
from costmodel.features.columns import NODE_COLUMNS, PROGRAM_COLUMNS
from costmodel.global_local import GlobalLocalModel
from costmodel.metrics import task_metrics
from costmodel.model import CostModel, Resumes
from costmodel.network import EncoderConfig, Ranker, tensors_of
from costmodel.neural import NeuralModel
from costmodel.train import RefitConfig, TrainConfig
from tests.costmodel.synthetic import dataset, task

ENCODERS: tuple[EncoderConfig, ...] = (
    TreeGRUConfig(hidden=16, readout=16),
    TreeLSTMConfig(hidden=16, readout=16),
    ContextTreeGRUConfig(embedding=16, hidden=8, num_slots=4),
    StatementMLPConfig(hidden=32, readout=16),
    GNNConfig(hidden=16, num_rounds=3, readout=16),
    TransformerConfig(hidden=16, num_heads=2, readout=16),
)
"""A new encoder is one more line here."""


SMALL = TrainConfig(num_epochs=25, tasks_per_step=3, candidates_per_task=40)


def small(config: EncoderConfig) -> Callable[[], CostModel]:
    return lambda: NeuralModel(config, SMALL, RefitConfig(num_steps=60))


def small_ensemble() -> CostModel:
    training = TrainConfig(num_epochs=15, tasks_per_step=3, candidates_per_task=40)
    member = NeuralModel(TreeGRUConfig(hidden=16, readout=16), training, RefitConfig(num_steps=60))
    return EnsembleModel(member, EnsembleConfig(num_members=2))


MODELS: dict[str, Callable[[], CostModel]] = {
    "constant": ConstantModel,
    "random": RandomModel,
    "roofline": RooflineModel,
    "xgboost": lambda: GradientBoostingModel(GradientBoostingConfig(num_rounds=20)),
    "xgboost_pairs": lambda: GradientBoostingModel(
        GradientBoostingConfig(num_rounds=20, min_child_weight=1, ranks_pairs=True)
    ),
    "xgboost_relations": lambda: GradientBoostingModel(
        GradientBoostingConfig(num_rounds=20, features="relations")
    ),
    "ensemble": small_ensemble,
    "global_local": lambda: GlobalLocalModel(NeuralModel(ENCODERS[0], SMALL)),
    **{config.name: small(config) for config in ENCODERS},
}
LEARNING = [name for name, make in MODELS.items() if not make().is_fitted]
RESUMING = [name for name, make in MODELS.items() if isinstance(make(), Resumes)]
UNSEEN = "depthwise"


def fitted(name: str, seed: int = 0) -> CostModel:
    model = MODELS[name]()
    model.fit(dataset("matmul", "small_matmul", "conv2d"), np.random.default_rng(seed))
    return model


@pytest.fixture(scope="module", params=list(MODELS))
def model(request: pytest.FixtureRequest) -> CostModel:
    return fitted(request.param)


@pytest.fixture(scope="module")
def trees() -> TreeBatch:
    return task(UNSEEN).trees


def test_scores_have_one_finite_number_per_tree(model: CostModel, trees: TreeBatch) -> None:
    scores = model.score(trees)
    assert scores.shape == (len(trees),)
    assert np.isfinite(scores).all()


def test_scores_follow_their_candidates_into_any_order(model: CostModel, trees: TreeBatch) -> None:
    order = np.random.default_rng(0).permutation(len(trees))
    np.testing.assert_allclose(model.score(trees.take(order)), model.score(trees)[order], atol=1e-5)


def test_a_batch_scores_as_its_trees_alone(model: CostModel, trees: TreeBatch) -> None:
    scores = model.score(trees)
    alone = [model.score(trees.take(np.array([row])))[0] for row in range(0, len(trees), 7)]
    np.testing.assert_allclose(alone, scores[::7], atol=1e-5)


def test_nothing_to_score_gives_no_scores(model: CostModel, trees: TreeBatch) -> None:
    assert model.score(trees.take(np.zeros(0, dtype=np.int64))).shape == (0,)


def test_a_saved_model_scores_identically(model: CostModel, trees: TreeBatch, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "model.safetensors", model, "data")
    loaded = load_checkpoint(tmp_path / "model.safetensors", model, "data")
    np.testing.assert_array_equal(loaded.score(trees), model.score(trees))
    assert loaded.is_fitted == model.is_fitted


def test_a_tuned_model_leaves_the_first_as_it_was(model: CostModel, trees: TreeBatch) -> None:
    before = model.score(trees)
    tuned = model.tuned(FeatureDataset((task(UNSEEN, 40),)), np.random.default_rng(0))
    assert tuned.is_fitted
    assert np.isfinite(tuned.score(trees)).all()
    np.testing.assert_array_equal(model.score(trees), before)


@pytest.mark.parametrize("name", list(MODELS))
def test_the_same_seed_gives_the_same_model(name: str, trees: TreeBatch) -> None:
    np.testing.assert_array_equal(fitted(name, 1).score(trees), fitted(name, 1).score(trees))


@pytest.mark.parametrize("name", RESUMING)
def test_a_training_that_was_stopped_ends_as_if_it_had_not_been(name: str, tmp_path: Path) -> None:
    def stop(done: int, of: int, loss: float) -> None:
        if done > 0.7 * of:
            raise KeyboardInterrupt

    model, data = MODELS[name](), dataset("matmul", "small_matmul", "conv2d")
    assert isinstance(model, Resumes)
    model.snapshot = tmp_path / "training.safetensors"
    with pytest.raises(KeyboardInterrupt):
        model.fit(data, np.random.default_rng(0), stop)
    shares: list[float] = []
    model.fit(data, np.random.default_rng(0), lambda done, of, loss: shares.append(done / of))
    assert shares[0] > 0.6
    whole = fitted(name).state().arrays
    resumed = model.state().arrays
    assert resumed.keys() == whole.keys()
    for part, array in whole.items():
        np.testing.assert_array_equal(resumed[part], array, err_msg=part)


@pytest.fixture
def four_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


def wide_tree(num_statements: int) -> TreeBatch:
    """One tree, whose statements are all under its root and all use what the first of them writes."""
    rng = np.random.default_rng(0)
    nodes = rng.normal(size=(1, num_statements + 1, len(NODE_COLUMNS))).astype(np.float32)
    programs = np.zeros((1, len(PROGRAM_COLUMNS)), dtype=np.float32)
    flows = tuple((1, user) for user in range(2, num_statements + 1))
    return TreeBatch((TreeGroup((-1, *[0] * num_statements), nodes, programs, np.arange(1), flows),))


@pytest.mark.usefixtures("four_threads")
@pytest.mark.parametrize("config", ENCODERS, ids=lambda config: config.name)
def test_threads_add_gradients_up_in_the_same_order_each_time(config: EncoderConfig) -> None:
    torch.manual_seed(0)
    network, wide = Ranker(config), wide_tree(2500)  # fewer are not shared out among threads
    network.measure_inputs([wide])
    found = []
    for _ in range(6):
        network.zero_grad()
        network(tensors_of(forest_of(wide))).sum().backward()
        found.append(torch.cat([parameter.grad.flatten() for parameter in network.parameters()]))
    assert found[0].any()
    assert all(torch.equal(each, found[0]) for each in found)


@pytest.mark.parametrize("name", LEARNING)
def test_training_ranks_what_it_saw_better_than_chance(name: str) -> None:
    seen = task("conv2d")
    accuracy = task_metrics(fitted(name).score(seen.trees), seen.labels)["pairwise_accuracy"]
    assert accuracy > 0.75


@pytest.mark.parametrize("name", LEARNING)
def test_tuning_teaches_a_model_that_knows_nothing(name: str) -> None:
    new = task(UNSEEN)
    fresh = MODELS[name]()
    assert not fresh.is_fitted
    tuned = fresh.tuned(FeatureDataset((new,)), np.random.default_rng(0))
    assert task_metrics(tuned.score(new.trees), new.labels)["pairwise_accuracy"] > 0.7


@pytest.mark.parametrize("name", LEARNING)
def test_failures_alone_are_nothing_to_learn_from(name: str) -> None:
    known = task("conv2d")
    failed = np.full(len(known), np.nan)
    useless = TaskFeatures("failed", known.trees, failed, known.repeat_pairs)
    with pytest.raises(ValueError, match="nothing to learn from"):
        MODELS[name]().fit(FeatureDataset((useless,)), np.random.default_rng(0))


@pytest.mark.parametrize("name", ["constant", "random", "roofline"])
def test_models_that_learn_nothing_are_ready_at_once(name: str) -> None:
    assert MODELS[name]().is_fitted


def test_the_constant_model_is_no_better_than_chance() -> None:
    seen = task("conv2d")
    metrics = task_metrics(ConstantModel().score(seen.trees), seen.labels)
    assert metrics["pairwise_accuracy"] == 0.5
    assert metrics["kendall_tau"] == 0


def test_groups_need_not_be_in_the_order_of_rows(model: CostModel, trees: TreeBatch) -> None:
    shuffled = TreeBatch(tuple(_reversed(group) for group in reversed(trees.groups)))
    np.testing.assert_allclose(model.score(shuffled), model.score(trees), atol=1e-5)


def _reversed(group: TreeGroup) -> TreeGroup:
    return TreeGroup(group.parents, group.nodes[::-1], group.programs[::-1], group.rows[::-1], group.flows)
