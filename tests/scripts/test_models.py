"""A checkpoint is opened with the options it was trained with, or refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from costmodel.checkpoint import save_checkpoint
from costmodel.encoders.baselines import RooflineConfig, RooflineModel
from costmodel.encoders.gradient_boosting import GradientBoostingConfig
from costmodel.encoders.treegru import TreeGRUConfig, TreeGRUModel
from costmodel.losses import RankAndTime
from costmodel.model import CostModel
from scripts.models import GradientBoostingOption, ModelOption, RooflineOption, TreeGRUOption
from scripts.predicting import open_model

SMALL = TreeGRUConfig(hidden=16, readout=16)


@pytest.mark.parametrize(
    ("model", "option", "words"),
    [
        (
            TreeGRUModel(SMALL),
            TreeGRUOption(network=TreeGRUConfig(hidden=32, readout=16)),
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
    ],
)
def test_options_that_a_checkpoint_contradicts_are_refused_with_both_values(
    tmp_path: Path, model: CostModel, option: ModelOption, words: str
) -> None:
    path = tmp_path / "checkpoint.safetensors"
    save_checkpoint(path, model, "0")
    with pytest.raises(ValueError, match=words):
        open_model(option, RankAndTime(), str(path))


def test_the_options_of_training_open_a_checkpoint_again(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    save_checkpoint(path, TreeGRUModel(SMALL), "0")
    opened = open_model(TreeGRUOption(network=SMALL), RankAndTime(), str(path))
    assert isinstance(opened, TreeGRUModel)
    assert opened.config == SMALL


def test_the_default_options_open_the_shipped_checkpoint() -> None:
    assert open_model(TreeGRUOption(), RankAndTime(), "shipped").is_fitted
