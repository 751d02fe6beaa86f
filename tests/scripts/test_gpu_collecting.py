"""Records of a GPU from the command to a model trained on them, on a GPU whose clock is made up."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import scripts.collect
from codegen.gpu_device import device_names
from codegen.gpu_target import GPU_TARGETS, GpuTarget
from codegen.measure.config import MeasureConfig
from codegen.measure.measurement import Failure, Measurement
from codegen.precision import Precision
from costmodel.dataset import dataset_of
from costmodel.features.columns import PROGRAM_COLUMNS, column_index
from datasets.agreement import find_disagreements
from datasets.columns import to_columns
from datasets.parquet import load_columns, load_records
from datasets.store import RecordStore
from datasets.table import table_from_columns
from scripts.options.gpu_target import GpuTargetConfig
from scripts.options.searches import GeneticOption
from scripts.tuning.collection import gpu_site
from scripts.tuning.gpu_resources import GpuBench, require_described
from scripts.tuning.measured_search import measure_ahead
from tests.scripts import imaginary_gpu
from tests.scripts.tiny import Scripts, refusal

pytest.importorskip("triton", reason="triton is not installed")

PROCESSES = ("imaginary_gpu:make_workbench", "imaginary_gpu:make_compiler")
BENCH = GpuBench(*PROCESSES, (str(Path(__file__).parent),), lambda target: "Imaginary A100")
PUBLISHED = Path(__file__).resolve().parents[2] / "datasets" / "published" / "gpu" / "nvidia_h200.parquet"
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
    assert (trained["num_train_tasks"], trained["num_test_tasks"]) == (1, 1)
    checkpoint = f"checkpoint={collecting.folder / 'train' / 'checkpoint.safetensors'}"
    judged = collecting("evaluate", "evaluate", *data, checkpoint, "debug=tiny")
    for name in ("gpu_roofline", "model_and_gpu_roofline"):
        assert 0 < judged[f"{name}_top5"] <= 1
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
    said = refusal(capsys, collecting, "collect", *ARGUMENTS, "checkpoint=mine.safetensors")
    assert "checkpoint=mine.safetensors is for CPU targets" in said
    assert not (collecting.folder / "gpu.db").exists()


@pytest.mark.parametrize(
    ("gpu", "num_sms", "device"),
    [
        ("NVIDIA H200", 132, "h200"),
        ("NVIDIA H100 80GB HBM3", 132, "h100"),
        ("NVIDIA GeForce RTX 3090", 82, "rtx_3090"),
        ("Tesla T4", 40, "t4"),
        ("NVIDIA GH200 480GB", 132, None),
        ("NVIDIA H100 PCIe", 114, None),
        ("NVIDIA H200 MIG 1g.18gb", 16, None),
        ("NVIDIA GeForce RTX 3090 Ti", 84, None),
    ],
)
def test_a_gpu_is_what_its_name_and_its_multiprocessors_say(
    monkeypatch: pytest.MonkeyPatch, gpu: str, num_sms: int, device: str | None
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    found = SimpleNamespace(multi_processor_count=num_sms)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda number: found)
    for name in device_names():
        target = replace(GPU_TARGETS["cuda_sm90"], device=name)
        if name == device:
            require_described(target, gpu)
        else:
            hint = f"give target.device={device}" if device else "add a file"
            with pytest.raises(ValueError, match=hint):
                require_described(target, gpu)


def test_targets_of_other_products_have_other_names() -> None:
    names = set()
    for dot_input in ("ieee", "tf32"):
        option = GpuTargetConfig(name="cuda_sm80", storage="float32", dot_input=dot_input)
        names.add(gpu_site(option, MeasureConfig(), "v1", GeneticOption(), BENCH).target.name)
    assert names == {"Imaginary A100, float32", "Imaginary A100, float32, tf32 products"}


def test_what_the_compilers_lost_is_measured_and_what_they_refuse_is_not() -> None:
    class Compilers:
        def verify(self, jobs: list[str]) -> list[Failure | None]:
            return [None, Failure("timeout", "busy"), Failure("constraints", "does not fit")]

    class Measuring:
        def measure_one(self, job: str) -> Measurement:
            return Measurement((1e-3,))

    found = list(measure_ahead(Measuring(), Compilers(), ["a", "b", "c"]))  # type: ignore[arg-type, list-item]
    assert [one.failure and one.failure.kind for one in found] == [None, None, "constraints"]


def test_records_of_a_gpu_that_is_not_described_are_named(tmp_path: Path) -> None:
    [record, *_] = load_records(PUBLISHED)
    strange = replace(record, target=replace(record.target, device="b200"))
    table = table_from_columns(to_columns([strange]))
    [problem] = find_disagreements(table)
    assert record.task in problem
    assert "b200" in problem
    with pytest.raises(ValueError, match=rf"task {record.task}: device must be one of a100.*b200"):
        dataset_of(table)


def test_shorter_elements_show_as_larger_caches() -> None:
    [record, *_] = load_records(PUBLISHED)
    assert isinstance(record.target, GpuTarget)
    whole = replace(record.target, precision=Precision("float32"))
    half, full = (
        dataset_of(table_from_columns(to_columns([replace(record, target=target)]))).tasks[0].trees
        for target in (record.target, whole)
    )
    place = column_index(PROGRAM_COLUMNS, "l1")
    assert half.programs[0, place] == pytest.approx(full.programs[0, place] + 1)
