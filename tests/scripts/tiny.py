"""A tiny stored data set with made-up runtimes, and the scripts run on it in this process."""

from __future__ import annotations

import dataclasses
import importlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codegen.measure.measurement import Failure, Measurement
from codegen.ops import make_operator, operator_parameters
from codegen.schedule import build_space
from codegen.target import Target
from costmodel.encoders.baselines import RooflineModel
from costmodel.features.featurise import featurise
from datasets.parquet import save_records
from datasets.record import Record
from scripts.options.groups import register_groups
from scripts.running.launch import launch
from scripts.suites.benchmarks import Benchmark
from tests.targets import make_target

TASKS: dict[str, tuple[str, dict[str, Any]]] = {
    "first": ("matmul", {"m": 32, "k": 48, "n": 64}),
    "second": ("matmul", {"m": 24, "k": 64, "n": 32}),
    "third": ("conv2d", {"height": 7, "width": 7, "in_channels": 16, "out_channels": 32, "padding": 1}),
    "matmul_tiny": ("matmul", {"m": 16, "k": 40, "n": 48}),
}
"""``by_task`` keeps matmul_tiny for the test side, as its name matches a pattern of ``held_out``."""

TARGET = make_target(lanes=8)


def records_of(
    name: str, num: int = 24, target: Target = TARGET, all_fail: bool = False, seed: int = 0
) -> list[Record]:
    """Candidates of one task, each measured twice; times follow from the roofline, with noise."""
    operator = make_operator(*TASKS[name])
    program = operator.program()
    space, rng = build_space(program, target), np.random.default_rng(seed)
    candidates = space.sample(num, rng)
    latency_s = 1e-5 * np.exp(-RooflineModel().score(featurise(space, candidates)).astype(np.float64) / 9)
    records = []
    for row, source in [(row, "random") for row in range(num)] + [(row, "repeat") for row in range(num)]:
        named: dict[str, Any] = space.named(candidates, row)
        times_s = tuple((latency_s[row] * np.exp(rng.normal(0, 0.02, 3))).tolist())
        failure = Failure("runtime", "made to fail") if all_fail else None
        records.append(
            Record(
                task=name,
                operator=operator.operator_name,
                parameters=operator_parameters(operator),
                program_hash=program.hash,
                target=target,
                sketch=named["sketch"],
                knobs=named["knobs"],
                measurement=Measurement(() if failure else times_s, failure),
                source=source,  # type: ignore[arg-type]
                seed=seed,
                measured_at=f"2025-01-31T12:00:00.{len(records):06}+00:00",
                code_version="v1",
                trial=len(records),
            )
        )
    return records


def write_data(path: Path, *names: str) -> Path:
    """A published file of some tasks, all by default."""
    save_records([record for name in names or TASKS for record in records_of(name)], path)
    return path


def other_target() -> Target:
    """Another machine, of the same width."""
    return dataclasses.replace(TARGET, name="elsewhere", l2_bytes=2 << 20)


@dataclass(frozen=True)
class Scripts:
    """Runs ``scripts/<name>.py`` with overrides, from within a folder that holds ``tiny.parquet``."""

    folder: Path
    monkeypatch: pytest.MonkeyPatch

    def __call__(self, name: str, run: str, *overrides: str) -> dict[str, Any]:
        """Its metrics; SystemExit(2) for a user's mistake."""
        module = importlib.import_module("scripts." + name)
        schema = Benchmark if name == "benchmark" else getattr(module, name.capitalize())
        self.monkeypatch.chdir(self.folder)
        self.monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
        folder = [f"hydra.sweep.dir={run}"] if "-m" in overrides else [f"hydra.run.dir={run}"]
        self.monkeypatch.setattr(sys, "argv", [f"{name}.py", *overrides, *folder])
        register_groups()
        launch(name, schema, module.run)
        path = self.folder / run / "metrics.json"
        metrics: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        return metrics


def refusal(
    capsys: pytest.CaptureFixture[str], scripts: Scripts, name: str, *overrides: str, run: str = "refused"
) -> str:
    """The one sentence of a run that ends in exit code 2."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as exit_info:
        scripts(name, run, *overrides)
    assert exit_info.value.code == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    return lines[0]
