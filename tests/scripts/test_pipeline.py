"""The scripts one after another on tiny tasks: collect, train, evaluate, tune, measure, compare."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codegen.llvm.artefact import load

ROOT = Path(__file__).resolve().parents[2]
TASKS = """
- {name: first, operator: matmul, parameters: {m: 32, k: 48, n: 64}}
- {name: second, operator: matmul, parameters: {m: 24, k: 64, n: 32}}
- name: third
  operator: conv2d
  parameters: {height: 7, width: 7, in_channels: 16, out_channels: 32, padding: 1}
"""
QUICK = ["measure.budget_s=0.005", "measure.min_repeat_s=0.0005"]


def script(name: str, folder: Path, run: str, *overrides: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts" / f"{name}.py"), *overrides, f"hydra.run.dir={run}"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def metrics(folder: Path, finished: subprocess.CompletedProcess[str], run: str) -> dict[str, Any]:
    assert finished.returncode == 0, finished.stdout + finished.stderr
    loaded: dict[str, Any] = json.loads((folder / run / "metrics.json").read_text())
    return loaded


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds collected records and a checkpoint trained on two of the three tasks."""
    folder = tmp_path_factory.mktemp("pipeline")
    (folder / "tasks.yaml").write_text(TASKS)
    collected = script(
        "collect", folder, "collect", "tasks=tasks.yaml", "store=mine.db", "collect.num_trials=8", *QUICK
    )
    found = metrics(folder, collected, "collect")
    assert found["num_records"] == found["num_stored"] == 24
    assert found["records_per_s"] > 0
    trained = script(
        "train",
        folder,
        "train",
        "data.path=mine.db",
        "data.split=by_name",
        "data.held_out=[third]",
        "model.training.num_epochs=2",
    )
    found = metrics(folder, trained, "train")
    for name in ("pairwise_accuracy", "top1", "top5", "rmse", "kendall_tau"):
        assert {name, f"random_{name}"} <= set(found)
    assert (found["num_train_tasks"], found["num_test_tasks"]) == (2, 1)
    return folder


def test_a_finished_collection_adds_nothing(folder: Path) -> None:
    again = script(
        "collect", folder, "again", "tasks=tasks.yaml", "store=mine.db", "collect.num_trials=8", *QUICK
    )
    found = metrics(folder, again, "again")
    assert (found["num_records"], found["num_stored"]) == (0, 24)


def test_a_checkpoint_is_judged_beside_the_baselines(folder: Path) -> None:
    checkpoint = "checkpoint=train/checkpoint.safetensors"
    data = ["data.path=mine.db", "data.split=by_name", "data.held_out=[third]"]
    found = metrics(folder, script("evaluate", folder, "evaluate", checkpoint, *data), "evaluate")
    trained = json.loads((folder / "train" / "metrics.json").read_text())
    assert found["pairwise_accuracy"] == trained["pairwise_accuracy"]


def test_a_tuned_operator_is_verified_and_the_run_can_go_on(folder: Path) -> None:
    arguments = [
        "task=matmul",
        "task.m=32",
        "task.k=32",
        "task.n=32",
        "search.plan.num_trials=4",
        "checkpoint=train/checkpoint.safetensors",
        *QUICK,
    ]
    found = metrics(folder, script("tune", folder, "tune", "search.trials=8", *arguments), "tune")
    assert (found["correct"], found["trials"]) == (1, 8)
    assert 0 < found["latency_low_s"] <= found["latency_s"] <= found["latency_high_s"]
    kernel = load(folder / "tune" / "kernel")
    a, b = np.random.default_rng(0).random((2, 32, 32), dtype=np.float32)
    np.testing.assert_allclose(kernel(a, b), a @ b, rtol=1e-5)
    first = history(folder)
    assert [row["trial"] for row in first] == [str(trial) for trial in range(1, 9)]
    found = metrics(folder, script("tune", folder, "tune", "search.trials=12", *arguments), "tune")
    assert found["trials"] == 12
    assert history(folder)[:8] == first


def history(folder: Path) -> list[dict[str, str]]:
    with (folder / "tune" / "history.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_listed_task_is_tuned_by_name(folder: Path) -> None:
    arguments = [
        "tasks=tasks.yaml",
        "name=second",
        "search=random",
        "search.trials=2",
        "model=constant",
        *QUICK,
    ]
    assert metrics(folder, script("tune", folder, "listed", *arguments), "listed")["task"] == "second"
    wrong = script("tune", folder, "wrong", "tasks=tasks.yaml", "name=fourth")
    assert (wrong.returncode, wrong.stderr) == (
        2,
        "error: name must be one of the tasks in tasks.yaml: first, second, third; got fourth\n",
    )


def test_all_tasks_of_a_list_are_tuned_together_and_the_run_can_go_on(folder: Path) -> None:
    arguments = ["tasks=tasks.yaml", "search=random", "model=constant", "search.plan.num_trials=2", *QUICK]
    found = metrics(folder, script("tune", folder, "network", "search.trials=3", *arguments), "network")
    assert (found["num_tasks"], found["num_tuned"], found["trials"]) == (3, 3, 9)
    names = ("first", "second", "third")
    assert found["latency_s"] == pytest.approx(sum(found[f"latency_s_{name}"] for name in names))
    assert sum(found[f"trials_{name}"] for name in names) == 9
    for name in names:
        assert found[f"correct_{name}"] == 1
        load(folder / "network" / name / "kernel")
    rows = {name: (folder / "network" / name / "history.csv").read_text() for name in names}
    again = script("tune", folder, "network", "search.trials=4", *arguments)
    assert metrics(folder, again, "network")["trials"] == 12
    for name in names:
        assert (folder / "network" / name / "history.csv").read_text().startswith(rows[name])
    refused = script("tune", folder, "gpu", "target=cuda_sm90", *arguments)
    assert (refused.returncode, refused.stderr) == (
        2,
        "error: several tasks need a CPU target; for a GPU choose one of them by name=\n",
    )
    refused = script("tune", folder, "ahead", "search.plan.is_ahead=true", *arguments)
    assert (refused.returncode, refused.stderr) == (
        2,
        "error: search.plan.is_ahead is for one task, chosen by name: several share the trials\n",
    )


def test_plans_made_ahead_are_as_if_the_run_had_not_been_interrupted(folder: Path) -> None:
    arguments = [
        "task=matmul",
        "task.m=32",
        "task.k=32",
        "task.n=32",
        "checkpoint=none",
        "search.anneal.num_steps=20",
        "search.plan.num_trials=3",
        "search.plan.is_ahead=true",
        *QUICK,
    ]
    whole = metrics(folder, script("tune", folder, "ahead", "search.trials=9", *arguments), "ahead")
    assert (whole["correct"], whole["trials"]) == (1, 9)
    assert 0 < whole["planning_s"] < whole["search_s"] < whole["wall_s"]
    journal = (folder / "ahead" / "journal.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "cut").mkdir()
    (folder / "cut" / "journal.jsonl").write_bytes(b"".join(journal[: len(journal) // 2]))
    metrics(folder, script("tune", folder, "cut", "search.trials=9", *arguments), "cut")
    plans = [
        [line for line in (folder / run / "journal.jsonl").read_text().splitlines() if '"candidates"' in line]
        for run in ("ahead", "cut")
    ]
    assert len(plans[0]) == 3
    assert plans[1] == plans[0]  # the third, too, hangs on times of the first alone


def test_one_candidate_is_measured_again(folder: Path) -> None:
    found = metrics(
        folder, script("measure", folder, "measure", "task=softmax", "task.rows=8", *QUICK), "measure"
    )
    assert found["status"] == "ok"
    assert found["latency_s"] > 0


@pytest.mark.parametrize(
    ("name", "override", "words"),
    [
        ("tune", "checkpoint=absent", "there is no checkpoint absent"),
        ("tune", "task.stride=0", "stride"),
        ("train", "data.path=cut.db", "cut.db"),
        ("train", "data.path=cut.parquet", "cut.parquet"),
        ("collect", "store=cut.db", "cut.db"),
        ("benchmark", "suite=everything", "suite must be one of throughput, training, ranking"),
        ("reproduce", "figure.num_seeds=0", "positive"),
    ],
)
def test_a_mistake_harms_nothing(folder: Path, name: str, override: str, words: str) -> None:
    (folder / "cut.db").write_bytes((folder / "mine.db").read_bytes()[:5000])
    (folder / "cut.parquet").write_bytes(b"PAR1 and no more")
    before = (folder / "cut.db").read_bytes()
    wrong = script(name, folder, "wrong", override, *(["tasks=tasks.yaml"] if name == "collect" else []))
    assert wrong.returncode == 2, wrong.stderr
    assert len(wrong.stderr.strip().splitlines()) == 1
    assert words in wrong.stderr
    assert (folder / "cut.db").read_bytes() == before
