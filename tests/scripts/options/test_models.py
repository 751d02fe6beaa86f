"""A checkpoint is opened with the options it was trained with, or refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from costmodel.checkpoint import save_checkpoint
from costmodel.encoders.baselines import RooflineConfig, RooflineModel
from costmodel.encoders.gradient_boosting import BoostingRefit, GradientBoostingConfig
from costmodel.encoders.treegru import TreeGRUConfig
from costmodel.losses import RankAndTime
from costmodel.model import CostModel
from costmodel.neural import NeuralModel
from scripts.learning.guide import open_model
from scripts.options.models import (
    DEFAULT_LOSS,
    DEFAULT_MODEL,
    GradientBoostingOption,
    ModelOption,
    NeuralOption,
    RooflineOption,
    network_names,
    table_losses,
    table_models,
)

SMALL = TreeGRUConfig(hidden=16, readout=16)


def treegru(**sizes: object) -> NeuralOption:
    return NeuralOption(network={"_target_": "costmodel.encoders.treegru.TreeGRUConfig", **sizes})


@pytest.mark.parametrize(
    ("model", "option", "words"),
    [
        (
            NeuralModel(SMALL),
            treegru(hidden=32, readout=16),
            r"model\.network\.hidden is 32, but .* holds a model with 16; give model\.network\.hidden=16",
        ),
        (
            RooflineModel(),
            RooflineOption(roofline=RooflineConfig(l3_bytes=1.5)),
            r"model\.roofline\.l3_bytes is 1\.5, but .* holds a model with 8\.0",
        ),
        (
            GradientBoostingOption().build(None),
            GradientBoostingOption(boosting=GradientBoostingConfig(max_depth=3)),
            r"model\.boosting\.max_depth is 3, but .* holds a model with 8",
        ),
        (
            GradientBoostingOption().build(None),
            GradientBoostingOption(boosting=GradientBoostingConfig(refit=BoostingRefit(num_rounds=3))),
            r"model\.boosting\.refit\.num_rounds is 3, but .* give model\.boosting\.refit\.num_rounds=200",
        ),
    ],
)
def test_options_that_a_checkpoint_contradicts_are_refused_with_both_values(
    tmp_path: Path, model: CostModel, option: ModelOption, words: str
) -> None:
    path = tmp_path / "checkpoint.safetensors"
    save_checkpoint(path, model, "0")
    with pytest.raises(ValueError, match=words):
        open_model(option, RankAndTime(), str(path))


def test_the_options_of_training_open_boosted_trees_again(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    option = GradientBoostingOption(boosting=GradientBoostingConfig(refit=BoostingRefit(num_rounds=3)))
    save_checkpoint(path, option.build(None), "0")
    opened = open_model(option, RankAndTime(), str(path))
    assert opened.state().config == option.build(None).state().config


def test_the_options_of_training_open_a_checkpoint_again(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    save_checkpoint(path, NeuralModel(SMALL), "0")
    opened = open_model(treegru(hidden=16, readout=16), RankAndTime(), str(path))
    assert isinstance(opened, NeuralModel)
    assert opened.config == SMALL


def test_the_default_options_open_the_shipped_checkpoint() -> None:
    assert open_model(NeuralOption(), RankAndTime(), "shipped").is_fitted


@pytest.mark.parametrize(
    ("network", "words"),
    [
        ({"_target_": "costmodel.encoders.nothing.Config"}, r"must be the configuration of an encoder"),
        ({"_target_": "treegru"}, r"must be the configuration of an encoder"),
        ({"_target_": "costmodel.encoders.gnn.GNN"}, r"must be the configuration of an encoder"),
        (
            {"_target_": "costmodel.encoders.gnn.GNNConfig", "layers": 2},
            r"unknown key .*layers",
        ),
        ({"_target_": "costmodel.encoders.gnn.GNNConfig", "hidden": "wide"}, r"whole number, got 'wide'"),
        ({"_target_": "costmodel.encoders.gnn.GNNConfig", "hidden": 0}, r"hidden must be at least 1"),
    ],
)
def test_a_network_that_cannot_be_built_is_refused(network: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        NeuralOption(network=network)


def test_every_choice_takes_part_in_the_table_of_models() -> None:
    assert {"treegru", "gnn"} <= set(network_names())
    assert not {"xgboost", "ensemble", "roofline", "global_local"} & set(network_names())
    assert table_models()[0] == DEFAULT_MODEL
    assert {*network_names(), "ensemble", "xgboost", "constant"} < set(table_models())
    assert "global_local" not in table_models()
    assert table_losses()[0] == DEFAULT_LOSS
    assert {"pairwise", "mixture"} < set(table_losses())
