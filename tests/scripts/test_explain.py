"""The closing words of `make run` say what the numbers say."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.explain import explain

ROOT = Path(__file__).resolve().parents[2]
TRAIN = {
    "train_s": 61.0,
    "pairwise_accuracy": 0.9012,
    "random_pairwise_accuracy": 0.5,
    "ceiling_pairwise_accuracy": 0.97,
    "top5": 0.95,
}
TUNE = {
    "task": "resnet18_c6",
    "trials": 96,
    "wall_s": 20.0,
    "latency_s": 0.0005,
    "gflops": 460.0,
    "correct": 1,
    "torch_latency_s": 0.00075,
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, metrics in (("train", TRAIN), ("tune", TUNE)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "metrics.json").write_text(json.dumps(metrics))
    return tmp_path


def test_the_numbers_of_both_runs_are_told(folder: Path) -> None:
    text = "\n".join(explain(folder))
    for words in (
        "90.1%",
        "97.0%",
        "resnet18_c6",
        "500 us",
        "460 GFLOP/s",
        "agrees with",
        "1.50 times as fast",
    ):
        assert words in text


def test_without_repeated_measurements_there_is_no_ceiling_to_tell(folder: Path) -> None:
    known = {name: value for name, value in TRAIN.items() if not name.startswith("ceiling")}
    (folder / "train" / "metrics.json").write_text(json.dumps(known))
    text = "\n".join(explain(folder))
    assert "(guessing: 50.0%)." in text


def test_a_wrong_kernel_is_not_hidden(folder: Path) -> None:
    (folder / "tune" / "metrics.json").write_text(json.dumps({**TUNE, "correct": 0}))
    assert "DIFFERS from the NumPy reference" in "\n".join(explain(folder))


@pytest.mark.parametrize("arguments", [[], ["absent"]])
def test_a_missing_run_is_one_sentence(arguments: list[str]) -> None:
    command = [sys.executable, str(ROOT / "scripts" / "explain.py"), *arguments]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 2
    assert len(finished.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('{"task": ', "tune/metrics.json is no whole JSON file"),
        ("[]", "tune/metrics.json has no task"),
        (json.dumps(TRAIN), "tune/metrics.json has no task; give a folder that make run wrote to"),
    ],
)
def test_a_damaged_file_is_named(folder: Path, text: str, complaint: str) -> None:
    (folder / "tune" / "metrics.json").write_text(text)
    with pytest.raises(ValueError, match=complaint):
        explain(folder)
