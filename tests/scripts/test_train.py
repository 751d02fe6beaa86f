"""Training and judging: what is learnt from and judged on is kept apart, and nothing learnt is lost."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from costmodel import train as training
from costmodel.checkpoint import read_header
from datasets.parquet import save_records
from scripts import train as train_script
from tests.scripts.tiny import TARGET, TASKS, Scripts, other_target, records_of, refusal, write_data

DATA = ["data.path=tiny.parquet", "data.test_fraction=0"]
TRAIN = [*DATA, "model.training.num_epochs=1"]
CHECKPOINT = "checkpoint=train/checkpoint.safetensors"


def test_a_checkpoint_is_not_judged_on_its_own_training_tasks(
    scripts: Scripts, capsys: pytest.CaptureFixture[str]
) -> None:
    scripts("train", "train", *TRAIN)
    assert scripts("evaluate", "same", *DATA, CHECKPOINT)["num_seen_tasks"] == 0
    other = [*DATA, "data.split=by_name", "data.held_out=[matmul_tiny,third]", CHECKPOINT]
    sentence = refusal(capsys, scripts, "evaluate", *other)
    assert "was trained on 1 of the 2 tasks it would be judged on" in sentence
    assert "third on imaginary (" in sentence
    assert "allow_seen=true" in sentence
    assert scripts("evaluate", "allowed", *other, "allow_seen=true")["num_seen_tasks"] == 1


def test_a_split_that_shares_tasks_on_purpose_is_judged_as_it_was_trained(
    scripts: Scripts, capsys: pytest.CaptureFixture[str]
) -> None:
    within = ["data.path=tiny.parquet", "data.split=within_task", "data.test_fraction=0.4"]
    scripts("train", "train", *within, "model.training.num_epochs=1")
    assert scripts("evaluate", "same", *within, CHECKPOINT)["num_seen_tasks"] == 0
    assert "was trained on" in refusal(capsys, scripts, "evaluate", *within, CHECKPOINT, "seed=1")


def test_what_was_learnt_from_another_share_of_the_candidates_has_been_seen(
    scripts: Scripts, capsys: pytest.CaptureFixture[str]
) -> None:
    within = ["data.path=tiny.parquet", "data.split=within_task", "model.training.num_epochs=1"]
    scripts("train", "train", *within, "data.test_fraction=0.2")
    other = [*within[:2], "data.test_fraction=0.4", CHECKPOINT]
    assert "was trained on" in refusal(capsys, scripts, "evaluate", *other)


def test_what_was_learnt_from_other_records_under_the_same_division_has_been_seen(
    scripts: Scripts, capsys: pytest.CaptureFixture[str]
) -> None:
    within = ["data.split=within_task", "data.test_fraction=0.4"]
    scripts("train", "train", *within, "data.path=tiny.parquet", "model.training.num_epochs=1")
    write_data(scripts.folder / "fewer.parquet", *list(TASKS)[1:])
    other = [*within, "data.path=fewer.parquet", CHECKPOINT]
    assert "was trained on" in refusal(capsys, scripts, "evaluate", *other)


def test_on_targets_that_were_learnt_from_no_checkpoint_is_judged(
    scripts: Scripts, capsys: pytest.CaptureFixture[str]
) -> None:
    write_two_targets(scripts.folder / "two.parquet")
    data = ["data.path=two.parquet", "data.split=by_target"]
    held_out, known = (f"data.held_out=[{each.fingerprint}]" for each in (other_target(), TARGET))
    scripts("train", "train", *data, held_out, "model.training.num_epochs=1")
    assert scripts("evaluate", "same", *data, held_out, CHECKPOINT, "seed=1")["num_seen_tasks"] == 0
    assert "first on imaginary (" in refusal(capsys, scripts, "evaluate", *data, known, CHECKPOINT)


def test_a_task_that_differs_in_its_epilogue_alone_has_been_seen(
    scripts: Scripts, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    scripts("train", "train", *TRAIN)
    operator, parameters = TASKS["third"]
    monkeypatch.setitem(TASKS, "third_relu", (operator, {**parameters, "relu": True}))
    write_data(scripts.folder / "relu.parquet", "third_relu", "matmul_tiny")
    other = ["data.path=relu.parquet", "data.split=by_name", "data.held_out=[third_relu]", CHECKPOINT]
    assert "third_relu on imaginary (" in refusal(capsys, scripts, "evaluate", *other)


def test_a_checkpoint_that_does_not_say_what_it_has_seen_is_judged_with_a_warning(
    scripts: Scripts, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_script, "training_notes", lambda *_: {})
    scripts("train", "train", *TRAIN)
    assert "num_seen_tasks" not in scripts("evaluate", "evaluate", *DATA, CHECKPOINT)
    assert "does not say which tasks it was trained on" in capsys.readouterr().out


def too_little(purpose: str, held: str) -> str:
    """How the sentence begins that refuses a side of a split."""
    return f"there is nothing to {purpose}: of the records in data.path that side of the split gets {held};"


@pytest.mark.parametrize(
    ("held_out", "purpose"), [("[]", "be judged on"), ("[first,second,third,matmul_tiny]", "learn from")]
)
@pytest.mark.parametrize("model", ["treegru", "constant"])
def test_an_empty_side_is_refused_before_training(
    scripts: Scripts, capsys: pytest.CaptureFixture[str], model: str, held_out: str, purpose: str
) -> None:
    split = [f"data.held_out={held_out}", "data.split=by_task", f"model={model}"]
    sentence = refusal(capsys, scripts, "train", *DATA, *split)
    assert too_little(purpose, "0 tasks with 0 candidates") in sentence


def test_a_side_on_which_all_candidates_failed_is_refused_before_training(
    scripts: Scripts, capsys: pytest.CaptureFixture[str]
) -> None:
    save_records(
        [*records_of("first"), *records_of("matmul_tiny", all_fail=True)], scripts.folder / "f.parquet"
    )
    sentence = refusal(capsys, scripts, "train", *DATA, "data.path=f.parquet")
    assert too_little("be judged on", "1 task with 24 candidates") in sentence
    assert "each side needs a task with at least two candidates, not all failed" in sentence


@pytest.mark.parametrize(
    ("task", "held"), [("first", "1 task with 1 candidate"), ("matmul_tiny", "0 tasks with 0 candidates")]
)
def test_a_single_record_is_too_little_to_learn_from(
    scripts: Scripts, capsys: pytest.CaptureFixture[str], task: str, held: str
) -> None:
    save_records(records_of(task)[:1], scripts.folder / "one.parquet")
    sentence = refusal(capsys, scripts, "train", "data.path=one.parquet")
    assert too_little("learn from", held) in sentence


def test_what_was_learnt_is_saved_before_it_is_judged(
    scripts: Scripts, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("judging failed")

    monkeypatch.setattr(train_script, "judge", fail)
    with pytest.raises(RuntimeError, match="judging failed"):
        scripts("train", "train", *TRAIN)
    assert read_header(scripts.folder / "train" / "checkpoint.safetensors").model == "treegru"


def test_one_task_on_two_targets_has_a_row_each(scripts: Scripts, capsys: pytest.CaptureFixture[str]) -> None:
    write_two_targets(scripts.folder / "two.parquet")
    metrics = scripts("train", "train", *DATA, "data.path=two.parquet", "model=constant")
    assert metrics["num_test_tasks"] == 2
    with (scripts.folder / "train" / "tasks.csv").open(newline="") as file:
        rows = [(row["task"], row["target"]) for row in csv.DictReader(file)]
    assert rows == [("matmul_tiny", "imaginary"), ("matmul_tiny", "elsewhere")]
    shown = capsys.readouterr().out
    assert all(words in shown for words in ("by target", "imaginary", "elsewhere"))


def test_a_training_says_how_well_it_fits_what_it_learnt_from(
    scripts: Scripts, capsys: pytest.CaptureFixture[str]
) -> None:
    usual = scripts("train", "usual", *TRAIN, "model.training.num_epochs=30")
    assert "train_pairwise_accuracy" in capsys.readouterr().out
    chance = scripts("train", "chance", *DATA, "model=constant")
    assert chance["train_pairwise_accuracy"] == 0.5
    assert 0.7 < usual["train_pairwise_accuracy"] <= 1


def test_a_configured_baseline_is_not_replaced_by_the_default_one(scripts: Scripts, tmp_path: Path) -> None:
    usual = scripts("evaluate", "usual", *DATA, "model=roofline")
    odd = scripts("evaluate", "odd", *DATA, "model=roofline", "model.roofline.memory_bytes=0.0001")
    assert odd["pairwise_accuracy"] != usual["pairwise_accuracy"]
    assert odd["roofline_pairwise_accuracy"] == odd["pairwise_accuracy"]


def test_a_learning_rate_that_diverges_is_one_sentence(
    scripts: Scripts, capsys: pytest.CaptureFixture[str]
) -> None:
    sentence = refusal(capsys, scripts, "train", *TRAIN, "model.training.learning_rate=1e30")
    assert "diverged" in sentence
    assert "learning_rate" in sentence


def test_a_training_that_was_killed_goes_on_in_its_folder(
    scripts: Scripts, monkeypatch: pytest.MonkeyPatch
) -> None:
    three = [*DATA, "model.training.num_epochs=3"]
    whole = scripts("train", "whole", *three)
    save = training.save_snapshot

    def killed(path: Path, *arguments: object) -> None:
        save(path, *arguments)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(training, "save_snapshot", killed)
        with pytest.raises(SystemExit):
            scripts("train", "run", *three)
    assert (scripts.folder / "run" / "training.safetensors").exists()
    resumed = scripts("train", "run", *three)
    assert resumed["pairwise_accuracy"] == whole["pairwise_accuracy"]
    assert resumed["rmse"] == whole["rmse"]
    assert not list((scripts.folder / "run").glob("training*"))


def test_the_coverage_of_an_ensemble_is_shown_where_it_is_trained_and_where_it_is_judged(
    scripts: Scripts, capsys: pytest.CaptureFixture[str]
) -> None:
    intervals = ["model=ensemble", "model.ensemble.num_members=2", "model.ensemble.calibration_fraction=0.4"]
    trained = scripts("train", "train", *TRAIN, *intervals)
    shown = capsys.readouterr().out.splitlines()
    judged = scripts("evaluate", "run", *DATA, *intervals, CHECKPOINT)
    seen = capsys.readouterr().out.splitlines()
    assert not any("not calibrated" in line for line in (*shown, *seen))
    for name in ("coverage", "interval_ratio"):
        assert judged[name] == trained[name]
        assert f"{trained[name]:.4g}" in next(line for line in shown if f" {name} " in line)
        assert f" {name} " in next(line for line in seen if " model " in line)
    assert f" {trained['coverage']:.4g} " in next(line for line in seen if " ensemble " in line)
    (said,) = (line for line in seen if line.startswith("predicted against measured times: "))
    assert said.endswith("run/predictions.png")


def test_an_ensemble_whose_intervals_are_not_calibrated_says_why_and_what_to_set(
    scripts: Scripts, capsys: pytest.CaptureFixture[str]
) -> None:
    pair = ["model=ensemble", "model.ensemble.num_members=2"]
    assert "coverage" not in scripts("train", "train", *TRAIN, *pair)
    warning = "warning: the intervals of ensemble are not calibrated: "
    shares = "calibration_fraction=0.1 of 3 groups of tasks alike keeps none apart; calibration_fraction=0.33"
    assert f"{warning}{shares} keeps one" in capsys.readouterr().out
    assert "coverage" not in scripts("evaluate", "judged", *DATA, *pair, CHECKPOINT)
    assert f"{warning}its calibration_fraction=0.1 kept no task" in capsys.readouterr().out
    scripts("train", "none", *TRAIN, *pair, "model.ensemble.calibration_fraction=0")
    assert warning not in capsys.readouterr().out


def test_trees_have_no_loss_to_show(scripts: Scripts, capsys: pytest.CaptureFixture[str]) -> None:
    scripts("train", "train", *DATA, "model=xgboost", "debug=tiny")
    shown = capsys.readouterr().out
    assert "training xgboost: 10 of 10\n" in shown
    assert "loss nan" not in shown
    assert "changes nothing" not in shown
    scripts("train", "other", *DATA, "model=xgboost", "loss=list_mle", "debug=tiny")
    words = "ListMLE changes nothing: xgboost minimises none of the losses of loss=..."
    assert words in capsys.readouterr().out


def write_two_targets(path: Path) -> None:
    """Two tasks, the one that ``by_task`` keeps apart on another target too."""
    elsewhere = records_of("matmul_tiny", target=other_target())
    save_records([*records_of("first"), *records_of("matmul_tiny"), *elsewhere], path)
