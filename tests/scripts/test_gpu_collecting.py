"""Records of a GPU from the command to a model trained on them, on a GPU whose clock is made up."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import scripts.collect
from codegen.gpu_target import GpuTarget
from costmodel.dataset import dataset_of
from datasets.agreement import find_disagreements
from datasets.parquet import load_columns
from datasets.store import RecordStore
from datasets.table import table_from_columns
from scripts.options.gpu_target import GpuTargetConfig
from scripts.tuning.gpu_resources import GpuBench
from tests.scripts import imaginary_gpu
from tests.scripts.tiny import Scripts, refusal

pytest.importorskip("triton", reason="triton is not installed")

PROCESSES = ("imaginary_gpu:make_workbench", "imaginary_gpu:make_compiler")
BENCH = GpuBench(*PROCESSES, (str(Path(__file__).parent),), lambda target: "Imaginary A100")
TASKS = """
- {name: first, operator: matmul, parameters: {m: 33, k: 40, n: 20}}
- {name: second, operator: softmax, parameters: {rows: 20, cols: 50}}
"""
ARGUMENTS = ["target=cuda_sm80", "tasks=tasks.yaml", "store=gpu.db", "parquet=gpu.parquet"]
ARGUMENTS += ["collect.round_size=3", "measure.num_repeats=3", "measure.timeout_s=900"]
ARGUMENTS += ["search.anneal.num_chains=8", "search.anneal.num_steps=10"]


@pytest.fixture
def collecting(scripts: Scripts, monkeypatch: pytest.MonkeyPatch) -> Scripts:
    """The scripts on the imaginary GPU, in a folder with two small tasks."""
    use(monkeypatch, BENCH)
    (scripts.folder / "tasks.yaml").write_text(TASKS)
    return scripts


def use(monkeypatch: pytest.MonkeyPatch, bench: GpuBench) -> None:
    monkeypatch.setattr(scripts.collect, "BENCH", bench)


def test_records_of_a_gpu_are_stored_published_and_learnt_from(collecting: Scripts) -> None:
    found = collecting("collect", "run", *ARGUMENTS, "collect.num_trials=6")
    assert found["num_records"] == found["num_stored"] == 12
    with RecordStore(collecting.folder / "gpu.db") as store:
        records = store.records(all_targets=True)
    target = records[0].target
    assert isinstance(target, GpuTarget)
    assert target.name == "Imaginary A100, float16"
    assert target.fingerprint == GpuTargetConfig(name="cuda_sm80").describe().fingerprint
    assert {(record.cache, record.compiler.split()[0]) for record in records} == {("flushed", "Triton")}
    low, high = imaginary_gpu.CALL_S, imaginary_gpu.CALL_S + 6e-6
    assert all(low <= time_s <= high for record in records for time_s in record.times_s)
    assert {record.source for record in records} == {"random", "mutated", "search"}
    table = table_from_columns(load_columns(collecting.folder / "gpu.parquet"))
    assert [task.target for task in table.tasks] == [target] * 2
    assert find_disagreements(table) == []
    dataset = dataset_of(table)
    assert all(np.isfinite(group.nodes).all() for task in dataset.tasks for group in task.trees.groups)
    data = [f"data.path={collecting.folder / 'gpu.parquet'}", "data.features=none", "data.held_out=[second]"]
    trained = collecting("train", "train", *data, "debug=tiny")
    assert trained["num_train"] == 6
    # The same command measures nothing anew, a larger budget goes on.
    assert collecting("collect", "run", *ARGUMENTS, "collect.num_trials=6")["num_records"] == 0
    assert collecting("collect", "run", *ARGUMENTS, "collect.num_trials=7")["num_records"] == 2


def test_another_gpu_than_the_target_describes_is_refused(
    collecting: Scripts, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use(monkeypatch, replace(BENCH, name_of_gpu=lambda target: "Imaginary 9"))
    said = refusal(capsys, collecting, "collect", *ARGUMENTS)
    assert "Imaginary 9" in said
    assert "a100" in said
    assert not (collecting.folder / "gpu.db").exists()
