"""scripts/tasks.py: a network in, a list that the other scripts accept out."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("onnx")

import onnx

from codegen.ops import make_operator
from datasets.tasks import load_tasks

ROOT = Path(__file__).resolve().parents[2]
NETWORK = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light" / "light_squeezenet.onnx"


def _tasks(folder: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        str(ROOT / "scripts" / "tasks.py"),
        f"hydra.run.dir={folder / 'run'}",
        *overrides,
    ]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)


def test_a_network_becomes_a_list_of_tasks(tmp_path: Path) -> None:
    done = _tasks(tmp_path, f"onnx={NETWORK}", "batch=2", "output=lists/squeezenet.yaml")
    assert done.returncode == 0, done.stderr
    assert "Concat" in done.stdout
    tasks = load_tasks(tmp_path / "lists" / "squeezenet.yaml")
    assert tasks == load_tasks(tmp_path / "run" / "tasks.yaml")
    flops = sum(task.count * make_operator(task.operator, task.parameters).flops for task in tasks)
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["total_flops"] == flops > 1e9
    assert (metrics["num_tasks"], metrics["num_unsupported"]) == (len(tasks), 8)


def test_a_bad_file_is_one_sentence_and_exit_code_2(tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(NETWORK.read_bytes()[:9000])
    done = _tasks(tmp_path, "onnx=bad.onnx")
    assert done.returncode == 2
    assert "bad.onnx is not an ONNX model, or was cut short" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "run" / "tasks.yaml").exists()


def test_drawn_operators_depend_on_the_seed_alone(tmp_path: Path) -> None:
    lists = []
    for folder, seed in (("first", 3), ("again", 3), ("other", 4)):
        (tmp_path / folder).mkdir()
        done = _tasks(tmp_path / folder, "draw=12", f"seed={seed}")
        assert done.returncode == 0, done.stderr
        lists.append(load_tasks(tmp_path / folder / "run" / "tasks.yaml"))
    assert lists[0] == lists[1] != lists[2]
    metrics = json.loads((tmp_path / "first" / "run" / "metrics.json").read_text())
    assert (metrics["num_tasks"], metrics["num_unsupported"]) == (12, 0)
    assert metrics["total_flops"] > 0


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        ([], "give onnx=<file> or draw=<number of operators>"),
        (["onnx=a.onnx", "draw=2"], "give onnx=<file> or draw=<number of operators>"),
        (["draw=2", "batch=8"], "batch and dims are of networks"),
        (["draw=0"], "the number of operators to draw must be positive, got 0"),
    ],
)
def test_a_list_of_neither_or_both_is_refused(tmp_path: Path, overrides: list[str], sentence: str) -> None:
    done = _tasks(tmp_path, *overrides)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1
