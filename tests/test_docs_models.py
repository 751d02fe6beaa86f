"""The encoder that docs/models.md adds from start to end is one, in fewer than 60 lines."""

from __future__ import annotations

import csv
import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from costmodel.metrics import task_metrics
from costmodel.neural import NeuralModel
from costmodel.train import TrainConfig
from scripts.options.models import NeuralOption
from tests.costmodel.synthetic import dataset, task

PAGE = Path(__file__).resolve().parents[1] / "docs" / "models.md"


def block(language: str) -> str:
    """The first block of code of a language under the heading."""
    section = PAGE.read_text().split("## Add an encoder")[1]
    found = re.search(rf"```{language}\n(.*?)```", section, re.DOTALL)
    assert found is not None
    return found.group(1)


@pytest.mark.slow
def test_the_steps_of_the_documentation_are_all_that_an_encoder_takes(tmp_path: Path) -> None:
    root = PAGE.parents[1]
    for folder in ("codegen", "configs", "costmodel", "datasets", "docs", "scripts", "search", "tests"):
        shutil.copytree(root / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(root / name, tmp_path)
    (tmp_path / "costmodel" / "encoders" / "node_sum.py").write_text(block("python"))
    (tmp_path / "configs" / "model" / "node_sum.yaml").write_text(block("yaml"))
    contract = tmp_path / "tests" / "contracts" / "test_models.py"
    listed = "ENCODERS: tuple[EncoderConfig, ...] = (\n"
    text = contract.read_text().replace(listed, f"{listed}    NodeSumConfig(hidden=16, readout=16),\n")
    imported = "from costmodel.encoders.statement_mlp"
    own = "from costmodel.encoders.node_sum import NodeSumConfig\n"
    contract.write_text(text.replace(imported, f"{own}{imported}"))
    places = [
        "contracts/test_models.py",
        "scripts/options",
        "scripts/suites/models",
        "scripts/suites/transfer",
    ]
    files = [str(tmp_path / "tests" / place) for place in places]
    files += [str(path) for path in (tmp_path / "tests").glob("test_*.py")]
    run = [sys.executable, "-m", "pytest", "-v", "-n0", "-p", "no:cacheprovider", *files]
    ended = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout[-4000:]
    assert re.search(r"contracts/test_models.py::\S+\[\S*node_sum\S*\] PASSED", ended.stdout)


def test_the_encoder_of_the_documentation_learns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (block("python") + block("yaml")).count("\n") < 60
    path = tmp_path / "node_sum.py"
    path.write_text(block("python"))
    name = "costmodel.encoders.node_sum"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    network = yaml.safe_load(block("yaml"))["network"]
    for wrong in ({"hidden": 0}, {"hidden": -4}, {"readout": -1}):
        with pytest.raises(ValueError, match=r"(hidden must be at least 1|readout must be 0 .*), got"):
            NeuralOption(network={**network, **wrong})
    config = NeuralOption(network=network).encoder()
    assert config.name == "node_sum"
    model = NeuralModel(config, TrainConfig(num_epochs=15, tasks_per_step=3, candidates_per_task=40))
    model.fit(dataset("matmul", "conv2d"), np.random.default_rng(0))
    seen = task("conv2d")
    assert task_metrics(model.score(seen.trees), seen.labels)["pairwise_accuracy"] > 0.7


@pytest.mark.parametrize("group", ["model", "loss"])
def test_what_the_tables_of_the_documentation_offer_is_there(group: str) -> None:
    _, table = PAGE.read_text().split(f"| `{group}=` |")
    rows = table.split("\n\n")[0].splitlines()[2:]
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])}
    known = {path.stem for path in (PAGE.parents[1] / "configs" / group).glob("*.yaml")}
    assert named <= known
    with (PAGE.parent / "results" / "models" / "models.csv").open(newline="") as file:
        assert {row[group] for row in csv.DictReader(file)} - {"-"} <= named
