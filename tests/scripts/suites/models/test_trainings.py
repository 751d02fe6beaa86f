"""The comparison of models: it goes on where it was killed, and its table says what its trainings found."""

from __future__ import annotations

import csv
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from costmodel.dataset import FeatureDataset
from datasets.parquet import save_records
from scripts.learning.effort import Effort
from scripts.suites.models import trainings
from scripts.suites.models.selection import ModelTableConfig, Selection
from tests.costmodel.synthetic import task
from tests.scripts.tiny import TASKS, Scripts, other_target, records_of, refusal, write_data

SUITE = ["suite=models", "debug=tiny", "data.path=tiny.parquet"]


def test_a_run_that_was_killed_goes_on(
    scripts: Scripts, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trained: list[str] = []
    train = trainings.fit_model

    def watched(model: object, *arguments: object) -> Effort:
        if len(trained) == 3:
            raise KeyboardInterrupt
        trained.append(model.name)  # type: ignore[attr-defined]
        return train(model, *arguments)  # type: ignore[arg-type]

    few = [*SUITE, "table.splits=[by_task,within_task]", "table.losses=[pairwise]"]
    with monkeypatch.context() as patched:
        patched.setattr(trainings, "fit_model", watched)
        with pytest.raises(SystemExit):
            scripts("evaluate", "run", *few)
    kept = {path: path.read_bytes() for path in (scripts.folder / "run" / "cells").iterdir()}
    assert len(kept) == len(trained) == 3
    assert "10 trainings to be made, 0 are kept in" in capsys.readouterr().out
    found = scripts("evaluate", "run", *few)
    assert "7 trainings to be made, 3 are kept in" in capsys.readouterr().out
    assert found["num_trainings"] == 10  # 2 splits x (2 models x 2 seeds + a model that learns nothing)
    assert all(path.read_bytes() == content for path, content in kept.items())
    with (scripts.folder / "run" / "models.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["split"], row["model"], row["loss"], row["num_seeds"]) for row in rows[:3]] == [
        ("by_task", "treegru", "pairwise", "2"),
        ("by_task", "xgboost", "-", "2"),
        ("by_task", "roofline", "-", "1"),
    ]
    size = rows[0]["num_train"]
    assert found[f"by_task_treegru_pairwise_{size}_top1"] == float(rows[0]["top1"])
    assert "| noise ceiling |" in (scripts.folder / "run" / "models.md").read_text()
    assert (scripts.folder / "run" / "models.png").stat().st_size > 1000


@pytest.mark.parametrize("module", ["costmodel.metrics", "datasets.table", "scripts.suites.models.trainings"])
def test_what_other_code_judged_is_judged_again(
    scripts: Scripts,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    module: str,
) -> None:
    few = [*SUITE, "table.splits=[by_task]", "table.models=[xgboost,roofline]", "table.num_seeds=1"]
    scripts("evaluate", "run", *few)
    changed = scripts.folder / "changed.py"
    changed.write_text(Path(str(sys.modules[module].__file__)).read_text() + "# changed\n")
    monkeypatch.setattr(sys.modules[module], "__file__", str(changed))
    capsys.readouterr()
    scripts("evaluate", "run", *few)
    assert "2 trainings to be made, 0 are kept in" in capsys.readouterr().out


def test_models_that_give_intervals_have_a_coverage_and_others_none(
    scripts: Scripts, capsys: pytest.CaptureFixture[str]
) -> None:
    few = [*SUITE, "table.splits=[by_task]", "table.losses=[pairwise]", "table.num_seeds=1"]
    pair = "ensemble model.ensemble.num_members=2 model.ensemble.calibration_fraction=0.4"
    found = scripts("evaluate", "run", *few, f"table.models=['{pair}',roofline]", "data.test_fraction=0")
    with (scripts.folder / "run" / "models.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[1]["coverage"] == ""
    (known,) = (value for name, value in found.items() if name.endswith("_coverage"))
    assert 0 <= known == float(rows[0]["coverage"]) <= 1
    sentence = f"The intervals of {pair}, pairwise hold for {known:.3f} of the times (coverage)."
    assert sentence in capsys.readouterr().out
    assert sentence in (scripts.folder / "run" / "models.md").read_text()


def test_a_training_that_fails_does_not_cost_the_others_their_places(
    scripts: Scripts, capsys: pytest.CaptureFixture[str]
) -> None:
    wild = "treegru model.training.learning_rate=1e30 model.training.clip_norm=1e30"
    few = [*SUITE, "table.splits=[by_task]", "table.losses=[pairwise]", "table.num_seeds=1"]
    said = refusal(capsys, scripts, "evaluate", *few, f"table.models=['{wild}',roofline]", run="run")
    assert "1 of 2 trainings failed" in said
    text = (scripts.folder / "run" / "models.md").read_text()
    assert "| roofline | - | 1 |" in text
    failed = text.split("## Trainings that failed")[1]
    assert f"| by_task | {wild} | pairwise | 0 | training treegru diverged" in failed
    assert len(list((scripts.folder / "run" / "cells").iterdir())) == 1
    alone = refusal(capsys, scripts, "evaluate", *few, f"table.models=['{wild}']", run="run")
    assert "all 1 trainings failed, the first with:" in alone
    assert "diverged" in alone


def test_sizes_of_the_training_set_make_a_learning_curve(scripts: Scripts) -> None:
    few = [*SUITE, "table.splits=[by_task]", "table.models=[xgboost,roofline]"]
    scripts("evaluate", "run", *few, "table.num_records=[12,24,0]", "table.num_seeds=1")
    with (scripts.folder / "run" / "models.csv").open(newline="") as file:
        sizes = [int(row["num_train"]) for row in csv.DictReader(file) if row["model"] == "xgboost"]
    assert sizes[:2] == [12, 24]
    assert sizes[2] > 24
    assert (scripts.folder / "run" / "learning_curves.png").stat().st_size > 1000


def test_what_learns_nothing_is_compared_with_what_learnt_from_most(scripts: Scripts) -> None:
    few = [*SUITE, "table.splits=[by_task]", "table.models=[xgboost,roofline]", "table.num_seeds=1"]
    assert scripts("evaluate", "run", *few, "table.num_records=[12,0,24]")["num_trainings"] == 4
    with (scripts.folder / "run" / "models.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    accuracies = {(row["model"], int(row["num_train"])): float(row["pairwise_accuracy"]) for row in rows}
    best = max(size for model, size in accuracies if model == "xgboost")
    ahead = next(float(row["ahead_pairwise_accuracy"]) for row in rows if row["model"] == "roofline")
    assert ahead == pytest.approx(accuracies["roofline", 0] - accuracies["xgboost", best])
    line = next(
        line
        for line in (scripts.folder / "run" / "models.md").read_text().splitlines()
        if line.startswith("| roofline | - | 1 |")
    )
    assert line.split(" | ")[8] == ""


def test_a_smaller_training_set_has_comparisons() -> None:
    data = FeatureDataset(tuple(replace(task("matmul", 40), name=f"task_{number}") for number in range(8)))
    sizes = {num: trainings.smaller(data, num, np.random.default_rng(0)) for num in (10, 50, 160, 1000)}
    lengths = {num: [len(each) for each in few.tasks] for num, few in sizes.items()}
    assert lengths == {10: [10], 50: [17, 17, 17], 160: [20] * 8, 1000: [40] * 8}
    assert len({each.name for each in sizes[50].tasks}) == 3


def test_few_candidates_per_task_take_more_tasks() -> None:
    data = FeatureDataset(tuple(task("matmul", 5) for _ in range(8)))
    assert len(trainings.smaller(data, 32, np.random.default_rng(0))) in range(30, 36)


def test_splits_by_operator_and_target_need_two_of_them(
    scripts: Scripts, capsys: pytest.CaptureFixture[str]
) -> None:
    few = [*SUITE, "table.models=[roofline]", "table.splits=[by_operator,by_target]"]
    one = scripts("evaluate", "one", *few)
    assert one["num_trainings"] == 1
    assert "by_target: left out, as all records are of one target" in capsys.readouterr().out
    alone = refusal(capsys, scripts, "evaluate", *few, "table.splits=[by_target]")
    assert "table.splits=['by_target']: these records can be divided by none of them" in alone
    records = [record for name in TASKS for record in records_of(name)]
    save_records([*records, *records_of("third", target=other_target())], scripts.folder / "two.parquet")
    assert scripts("evaluate", "two", *few, "data.path=two.parquet")["num_trainings"] == 2


def test_a_small_try_takes_few_tasks_whatever_the_split(scripts: Scripts) -> None:
    records = [record for name in TASKS for record in records_of(name)]
    records += [record for name in TASKS for record in records_of(name, target=other_target())]
    save_records(records, scripts.folder / "two.parquet")
    few = [*SUITE, "table.models=[roofline]", "table.splits=[by_operator,by_target]", "data.num_tasks=1"]
    scripts("evaluate", "run", *few, "data.path=two.parquet")
    with (scripts.folder / "run" / "models.csv").open(newline="") as file:
        assert [row["num_tasks"] for row in csv.DictReader(file)] == ["1", "1"]


def test_folds_judge_the_tasks_to_learn_from_and_no_others(scripts: Scripts) -> None:
    shapes = {"fourth": {"m": 20, "k": 32, "n": 48}, "fifth": {"m": 48, "k": 32, "n": 32}}
    for name, shape in shapes.items():
        scripts.monkeypatch.setitem(TASKS, name, ("matmul", shape))
    write_data(scripts.folder / "six.parquet")
    few = [*SUITE, "data.path=six.parquet", "data.test_fraction=0", "table.splits=[folds]"]
    found = scripts("evaluate", "run", *few, "table.models=[xgboost,roofline]")
    assert found["num_trainings"] == 4 * (2 + 1)
    with (scripts.folder / "run" / "models.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["model"], row["num_tasks"], row["num_seeds"]) for row in rows] == [
        ("xgboost", "5", "2"),
        ("roofline", "5", "1"),
    ]
    cells = [json.loads(path.read_text()) for path in (scripts.folder / "run" / "cells").iterdir()]
    judged = {label.split(" on ")[0] for each in cells for label in each["tasks"]}
    assert judged == set(TASKS) - {"matmul_tiny"}


@pytest.mark.parametrize("blank", [{"models": [""]}, {"losses": [" "]}])
def test_a_blank_name_is_refused(blank: dict[str, list[str]]) -> None:
    with pytest.raises(ValueError, match=r"table\.models and losses must be names"):
        ModelTableConfig(**blank)


def test_losses_are_for_the_first_model_unless_every_pair_is_asked_for() -> None:
    config = ModelTableConfig(models=["treegru", "gnn"], losses=["rank_and_time", "pairwise"])
    assert config.pairs() == [("treegru", "rank_and_time"), ("treegru", "pairwise"), ("gnn", "rank_and_time")]
    assert len(replace(config, every_pair=True).pairs()) == 4


def test_losses_without_options_are_told_apart(scripts: Scripts) -> None:
    few = [*SUITE, "table.splits=[by_task]", "table.num_seeds=1", "table.models=[treegru]"]
    found = scripts("evaluate", "run", *few, "table.losses=[lambda_rank,list_mle,regression]")
    assert found["num_trainings"] == 3
    with (scripts.folder / "run" / "models.csv").open(newline="") as file:
        assert [row["loss"] for row in csv.DictReader(file)] == ["lambda_rank", "list_mle", "regression"]


def test_options_may_follow_the_name_of_a_model(scripts: Scripts, capsys: pytest.CaptureFixture[str]) -> None:
    few = [*SUITE, "table.splits=[by_task]", "table.num_seeds=1", "table.losses=['mixture loss.pairwise=1']"]
    wide = "table.models=[treegru,'treegru model.network.hidden=16 model.network.readout=16']"
    scripts("evaluate", "run", *few, wide)
    with (scripts.folder / "run" / "models.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["loss"] for row in rows} == {"mixture loss.pairwise=1"}
    numbers = [int(row["num_parameters"]) for row in rows]
    assert numbers[0] > 2 * numbers[1]
    assert "nothing" in refusal(capsys, scripts, "evaluate", *few, "table.models=[nothing]")
    assert "by_luck" in refusal(capsys, scripts, "evaluate", *SUITE, "table.splits=[by_luck]")


def test_a_selection_beside_the_first_adds_what_it_differs_in(scripts: Scripts) -> None:
    few = [*SUITE, "table.splits=[by_task]", "table.losses=[pairwise]", "table.num_seeds=1"]
    also = "table.also=[{models:[xgboost],num_seeds:2},{models:[roofline],splits:[by_task,within_task]}]"
    found = scripts("evaluate", "run", *few, also)
    assert found["num_trainings"] == 5  # treegru, xgboost twice, roofline on two splits; none of them twice
    with (scripts.folder / "run" / "models.csv").open(newline="") as file:
        rows = [(row["split"], row["model"], row["num_seeds"]) for row in csv.DictReader(file)]
    assert rows == [
        ("by_task", "treegru", "1"),
        ("by_task", "xgboost", "2"),
        ("by_task", "roofline", "1"),
        ("within_task", "roofline", "1"),
    ]


def test_a_mistake_in_a_selection_beside_the_first_is_named(
    scripts: Scripts, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "by_luck" in refusal(capsys, scripts, "evaluate", *SUITE, "table.also=[{splits:[by_luck]}]")
    said = refusal(capsys, scripts, "evaluate", *SUITE, "table.also=[{model:[xgboost]}]")
    assert "unknown key" in said
    assert "models" in said
    assert "num_seeds=0" in refusal(capsys, scripts, "evaluate", *SUITE, "table.also=[{num_seeds:0}]")
    config = ModelTableConfig(models=["treegru"], reference="gnn", also=[Selection(models=["gnn"])])
    assert [each.models for each in config.selections()] == [["treegru"], ["gnn"]]
