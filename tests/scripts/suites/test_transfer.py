"""Transfer: what is compared, and that harm is named."""

from __future__ import annotations

import csv
from collections.abc import Sequence

import numpy as np
import pytest

from codegen.ops import make_operator
from codegen.schedule import build_space
from costmodel.dataset import FeatureDataset, TaskFeatures
from costmodel.encoders.treegru import TreeGRUConfig
from costmodel.features.featurise import featurise
from costmodel.neural import NeuralModel
from costmodel.train import TrainConfig
from scripts.options.models import network_names
from scripts.suites.transfer import (
    Outcome,
    TransferConfig,
    hurt_rows,
    hurt_sentences,
    mean_rows,
    transfer_outcomes,
)
from tests.scripts.tiny import TARGET, TASKS, Scripts, refusal

DATA = ["data.path=tiny.parquet", "data.test_fraction=0"]
SUITE = ["suite=transfer", "debug=tiny", *DATA, "checkpoint=train/checkpoint.safetensors"]


def outcomes(task: str, local: Sequence[float], tuned: Sequence[float]) -> list[Outcome]:
    found = []
    for draw in range(len(local)):
        found += [Outcome(task, task, 8, draw, way, 0.5) for way in ("global", "global_local")]
        found.append(Outcome(task, task, 8, draw, "local", local[draw]))
        found.append(Outcome(task, task, 8, draw, "fine_tuned", tuned[draw]))
    return found


def test_harm_is_named_where_it_is_more_than_chance() -> None:
    helped = outcomes("helped", (0.6, 0.62), (0.9, 0.91))
    hurt = outcomes("hurt", (0.9, 0.91), (0.6, 0.62))
    unclear = outcomes("unclear", (0.9, 0.4), (0.6, 0.62))
    rows = hurt_rows([*helped, *hurt, *unclear])
    assert [row[:2] for row in rows] == [("hurt", 8)]
    assert rows[0][4] == pytest.approx(-0.295)
    assert "- hurt after 8 measurements: 0.905 without, 0.610 with" in hurt_sentences([*helped, *hurt])
    assert hurt_sentences(helped) == ["In none of 1 cases did knowledge of other tasks hurt beyond chance."]
    means = {row[1]: row[3] for row in mean_rows([*helped, *hurt], seed=0)}
    assert means == pytest.approx({"global": 0.5, "local": 0.7575, "fine_tuned": 0.7575, "global_local": 0.5})


def test_of_many_tasks_few_are_named_by_chance() -> None:
    rng = np.random.default_rng(0)
    same = [
        each
        for number in range(300)
        for each in outcomes(f"same_{number}", rng.normal(0.8, 0.05, 5), rng.normal(0.8, 0.05, 5))
    ]
    assert not hurt_rows(same)
    hurt = [
        each
        for number in range(30)
        for each in outcomes(f"hurt_{number}", [0.9] * 5, rng.normal(0.7, 0.05, 5))
    ]
    named = {row[0] for row in hurt_rows([*same, *hurt])}
    assert len(named & {each.task for each in hurt}) >= 20
    assert len(named - {each.task for each in hurt}) <= 5


def test_times_that_are_all_the_same_judge_nothing() -> None:
    operator = make_operator(*TASKS["first"])
    space = build_space(operator.program(), TARGET)
    trees = featurise(space, space.sample(40, np.random.default_rng(0)))
    flat = TaskFeatures("flat", trees, np.full(40, 1e-3), np.zeros((0, 2)))
    model, config = NeuralModel(TreeGRUConfig(hidden=8, readout=8), TrainConfig()), TransferConfig()
    assert transfer_outcomes(model, model, FeatureDataset((flat,)), config, seed=0) == []


def test_a_trained_network_is_tuned_on_new_tasks(
    scripts: Scripts, capsys: pytest.CaptureFixture[str]
) -> None:
    scripts("train", "train", *DATA, "model.training.num_epochs=1")
    found = scripts("evaluate", "run", *SUITE)
    ways = ("global", "local", "fine_tuned", "global_local")
    assert all(0 <= found[f"{way}_8_pairwise_accuracy"] <= 1 for way in ways)
    with (scripts.folder / "run" / "transfer.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == found["num_outcomes"] == 2 * len(ways)
    assert "| 8 | fine_tuned | 1 |" in (scripts.folder / "run" / "transfer.md").read_text()
    assert "leaves model treegru untrained" in refusal(
        capsys, scripts, "evaluate", *SUITE[:-1], "checkpoint=none"
    )
    few = [*SUITE, "transfer.num_measured=[100]"]
    assert "no task has 116 candidates" in refusal(capsys, scripts, "evaluate", *few)


@pytest.mark.parametrize("model", ["random", "constant", "roofline", "xgboost", "ensemble", "global_local"])
def test_a_model_that_is_no_single_network_is_refused_with_those_that_are(
    scripts: Scripts, capsys: pytest.CaptureFixture[str], model: str
) -> None:
    sentence = refusal(capsys, scripts, "evaluate", *SUITE[:-1], f"model={model}")
    assert f"model must be one of {', '.join(network_names())}, got {model}" in sentence
