"""A script is a configuration in, a run folder out, and one sentence for a user's mistake."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = """
import sys
sys.path.insert(0, {root!r})
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from omegaconf import MISSING
from scripts.running.launch import launch
from scripts.running.loggers import CsvConfig, TensorBoardConfig, WandbConfig
from scripts.running.schemas import store

@dataclass(frozen=True, kw_only=True)
class Inner:
    width: int = 3
    def __post_init__(self):
        if self.width < 1:
            raise ValueError(f"width must be positive, got {{self.width}}")

@dataclass(frozen=True, kw_only=True)
class Demo:
    seed: int = 7
    folder: str = MISSING
    inner: Inner = field(default_factory=Inner)
    logger: Any = MISSING

def work(run):
    if run.config.folder == "bug":
        raise RuntimeError("a bug of ours")
    if run.config.folder == "stopped":
        raise KeyboardInterrupt
    text = Path(run.config.folder).read_text()
    run.logger.log(1, {{"loss": 0.5}})
    return {{"width": run.config.inner.width, "is_wide": run.config.inner.width > 2, "text": text}}

for name, schema in (("csv", CsvConfig), ("tensorboard", TensorBoardConfig), ("wandb", WandbConfig)):
    store(f"{{name}}_schema", schema, "logger")
launch("demo", Demo, work, configs=Path(__file__).parent)
"""
CONFIG = """
defaults:
  - demo_schema
  - folders
  - logger: csv
  - _self_
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    (tmp_path / "demo.py").write_text(SCRIPT.format(root=str(ROOT)))
    (tmp_path / "demo.yaml").write_text(CONFIG)
    (tmp_path / "folders.yaml").write_text((ROOT / "configs" / "folders.yaml").read_text())
    (tmp_path / "logger").mkdir()
    for option in ("csv", "tensorboard", "wandb"):
        text = (ROOT / "configs" / "logger" / f"{option}.yaml").read_text()
        (tmp_path / "logger" / f"{option}.yaml").write_text(text)
    (tmp_path / "words.txt").write_text("hello")
    return tmp_path / "demo.py"


def run(script: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(script), *overrides]
    return subprocess.run(command, cwd=script.parent, capture_output=True, text=True, check=False)


def test_a_run_leaves_its_configuration_metrics_and_curve(script: Path) -> None:
    finished = run(script, "folder=words.txt", "inner.width=5", "hydra.run.dir=here")
    assert finished.returncode == 0, finished.stderr
    folder = script.parent / "here"
    metrics = json.loads((folder / "metrics.json").read_text())
    assert {key: metrics[key] for key in ("width", "is_wide", "text", "seed")} == {
        "width": 5,
        "is_wide": 1,
        "text": "hello",
        "seed": 7,
    }
    assert metrics["code_version"]
    assert "width: 5" in (folder / "config.yaml").read_text()
    assert (folder / "curves.csv").read_text().split() == ["step,name,value", "1,loss,0.5"]
    assert sorted(path.name for path in folder.iterdir()) == ["config.yaml", "curves.csv", "metrics.json"]


def test_several_jobs_get_a_folder_each(script: Path) -> None:
    finished = run(script, "-m", "folder=words.txt", "inner.width=1,2", "hydra.sweep.dir=sweep")
    assert finished.returncode == 0, finished.stderr
    widths = [
        json.loads((script.parent / f"sweep/{job}/metrics.json").read_text())["width"] for job in (0, 1)
    ]
    assert widths == [1, 2]


def test_a_mistake_in_one_job_is_told_and_the_others_are_done(script: Path) -> None:
    finished = run(script, "-m", "folder=absent.txt,words.txt", "inner.width=0,1", "hydra.sweep.dir=sweep")
    assert finished.returncode == 2
    assert finished.stderr.splitlines() == [
        "error: job 0 (folder=absent.txt,inner.width=0): width must be positive, got 0",
        "error: job 1 (folder=absent.txt,inner.width=1): absent.txt: No such file or directory",
        "error: job 2 (folder=words.txt,inner.width=0): width must be positive, got 0",
    ]
    assert [path.parent.name for path in (script.parent / "sweep").glob("*/metrics.json")] == ["3"]


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["folder=words.txt", "inner.wdith=2"], ["inner.wdith", "did you mean width"]),
        (["folder=words.txt", "inner.width=0"], ["width must be positive, got 0"]),
        (["folder=words.txt", "inner.width=wide"], ["inner.width", "'wide'"]),
        (["folder=words.txt", "logger=cvs"], ["logger=cvs", "csv, tensorboard, wandb"]),
        (["folder=words.txt", "inner.width"], ["inner.width"]),
        (["folder=words.txt", "+extra=1"], ["extra"]),
        ([], ["folder has no value"]),
        (["folder=absent.txt"], ["absent.txt", "No such file"]),
        (["folder=words.txt", "logger=wandb", "logger.mode=on"], ["offline or online", "'on'"]),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(
    script: Path, overrides: list[str], words: list[str]
) -> None:
    finished = run(script, *overrides)
    assert finished.returncode == 2, finished.stderr
    lines = finished.stderr.strip().splitlines()
    assert len(lines) == 1, finished.stderr
    assert lines[0].startswith("error: ")
    for word in words:
        assert word in lines[0]


def test_a_mistake_leaves_an_earlier_run_as_it_was(script: Path) -> None:
    assert run(script, "folder=words.txt", "hydra.run.dir=here").returncode == 0
    before = {path.name: path.read_bytes() for path in (script.parent / "here").iterdir()}
    assert run(script, "folder=words.txt", "inner.width=0", "hydra.run.dir=here").returncode == 2
    assert run(script, "folder=early.txt", "hydra.run.dir=here").returncode == 2
    assert {path.name: path.read_bytes() for path in (script.parent / "here").iterdir()} == before


def test_an_interrupted_run_says_how_to_go_on(script: Path) -> None:
    finished = run(script, "folder=stopped", "hydra.run.dir=some/where")
    assert finished.returncode == 130
    (line,) = finished.stderr.splitlines()
    assert (
        line == "stopped; what was finished is kept; the same command with hydra.run.dir=some/where goes on"
    )


def test_a_bug_keeps_its_traceback(script: Path) -> None:
    finished = run(script, "folder=bug")
    assert finished.returncode == 1
    assert "RuntimeError: a bug of ours" in finished.stderr


def test_a_foreign_package_called_datasets_is_named(script: Path) -> None:
    foreign = script.parent / "datasets"
    foreign.mkdir()
    (foreign / "__init__.py").write_text("")
    shadowed = script.read_text().replace("launch(", f"sys.path.insert(0, {str(script.parent)!r})\nlaunch(")
    script.write_text(shadowed)
    finished = run(script, "folder=words.txt")
    assert finished.returncode == 2, finished.stderr
    assert "package datasets must come from" in finished.stderr
