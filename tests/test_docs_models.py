"""The encoder that docs/models.md adds from start to end is one, in fewer than 60 lines."""

from __future__ import annotations

import importlib.util
import re
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


def test_the_documentation_names_every_model_and_loss() -> None:
    text = PAGE.read_text()
    root = PAGE.parents[1] / "configs"
    for group in ("model", "loss"):
        for path in (root / group).glob("*.yaml"):
            assert f"`{path.stem}`" in text, path.stem
