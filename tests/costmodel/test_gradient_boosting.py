"""Boosted trees learn from many candidates by small steps, and from few measurements by large ones."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import xgboost

from costmodel.dataset import FeatureDataset
from costmodel.encoders.gradient_boosting import BoostingRefit, GradientBoostingConfig, GradientBoostingModel
from tests.costmodel.synthetic import task

SMALL = GradientBoostingConfig(num_rounds=7, refit=BoostingRefit(num_rounds=3, learning_rate=0.2))


@pytest.fixture
def data() -> FeatureDataset:
    return FeatureDataset((task("matmul", 12),))


def test_a_refit_boosts_on_with_steps_of_its_own(
    data: FeatureDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, float, float, float]] = []
    train = xgboost.train

    def watched(parameters: dict[str, Any], *arguments: Any, num_boost_round: int, **others: Any) -> Any:
        names = ("eta", "min_child_weight", "colsample_bytree")
        asked.append((num_boost_round, *(parameters[name] for name in names)))
        return train(parameters, *arguments, num_boost_round=num_boost_round, **others)

    monkeypatch.setattr(xgboost, "train", watched)
    model = GradientBoostingModel(SMALL)
    model.fit(data, np.random.default_rng(0))
    tuned = model.tuned(data, np.random.default_rng(0))
    again = tuned.tuned(data, np.random.default_rng(0))
    assert asked == [(7, 0.05, 20.0, 0.3), *[(3, 0.2, 4.0, 0.5)] * 2]
    assert again.config == SMALL


def test_few_measurements_are_learnt_from(data: FeatureDataset) -> None:
    untrained = GradientBoostingModel(replace(SMALL, refit=BoostingRefit(num_rounds=30)))
    scores = untrained.tuned(data, np.random.default_rng(0)).score(data.tasks[0].trees)
    assert np.corrcoef(scores, data.tasks[0].labels)[0, 1] > 0.5


def test_what_was_saved_before_refits_had_settings_is_read(data: FeatureDataset) -> None:
    model = GradientBoostingModel(SMALL)
    model.fit(data, np.random.default_rng(0))
    state = model.state()
    old = replace(state, config={name: value for name, value in state.config.items() if name != "refit"})
    opened = GradientBoostingModel().restored(old)
    refit = BoostingRefit(num_rounds=7, learning_rate=0.05, min_child_weight=20.0, column_share=0.3)
    assert opened.config == replace(SMALL, refit=refit)
    assert np.array_equal(opened.score(data.tasks[0].trees), model.score(data.tasks[0].trees))


def test_steps_that_lead_nowhere_are_refused() -> None:
    with pytest.raises(ValueError, match="learning_rate"):
        BoostingRefit(learning_rate=0)
    with pytest.raises(ValueError, match="learning_rate"):
        GradientBoostingConfig(learning_rate=-0.1)
