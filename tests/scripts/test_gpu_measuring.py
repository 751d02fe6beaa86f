"""Tuning with measurements on a GPU: all of it but the events, on a GPU whose clock is made up."""

from __future__ import annotations

import csv
import functools
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import scripts.measure
import scripts.tune
from codegen.gpu_target import GPU_TARGETS
from scripts.tuning.gpu_resources import GpuBench, name_of_gpu
from scripts.tuning.gpu_tuning import GpuTuning
from tests.scripts import imaginary_gpu
from tests.scripts.tiny import Scripts, refusal

pytest.importorskip("triton", reason="triton is not installed")

PROCESSES = ("imaginary_gpu:make_workbench", "imaginary_gpu:make_compiler")
BENCH = GpuBench(*PROCESSES, (str(Path(__file__).parent),), lambda target: "Imaginary 1")
ARGUMENTS = ["target=cuda_sm80", "task=matmul", "task.m=33", "task.k=40", "task.n=20", "num_finalists=3"]
ARGUMENTS += ["search.anneal.num_chains=8", "search.anneal.num_steps=10", "search.plan.num_trials=4"]
ARGUMENTS += ["measure.num_repeats=3", "measure.timeout_s=900"]


@pytest.fixture
def measured(scripts: Scripts, monkeypatch: pytest.MonkeyPatch) -> Scripts:
    """The scripts on the imaginary GPU."""
    use(monkeypatch, BENCH)
    return scripts


def use(monkeypatch: pytest.MonkeyPatch, bench: GpuBench) -> None:
    monkeypatch.setattr(scripts.tune, "GpuTuning", functools.partial(GpuTuning, bench=bench))


def rows_of(path: Path) -> Sequence[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_time_is_one_that_the_clock_gave(measured: Scripts) -> None:
    found = measured("tune", "run", *ARGUMENTS, "search.trials=5")
    assert (found["gpu"], found["trials"], found["num_failed"]) == ("Imaginary 1", 5, 0)
    low, high = imaginary_gpu.CALL_S, imaginary_gpu.CALL_S + 6e-6
    assert low <= found["latency_low_s"] <= found["latency_s"] <= found["latency_high_s"] <= high
    assert found["gflops"] == pytest.approx(2 * 33 * 40 * 20 / found["latency_s"] / 1e9)
    history = rows_of(measured.folder / "run" / "history.csv")
    assert [row["status"] for row in history] == ["ok"] * 5
    assert all(low <= float(row["latency_s"]) <= high for row in history)
    # The finalists are timed again, and written fastest first.
    folder = measured.folder / "run" / "kernels"
    rows = rows_of(folder / "kernels.csv")
    assert [row["file"] for row in rows] == sorted(path.name for path in folder.glob("*.py"))
    assert len(rows) == 3
    latencies_s = [float(row["latency_s"]) for row in rows]
    assert latencies_s == sorted(latencies_s)
    assert latencies_s[0] == found["latency_s"]
    assert sum(row["is_tied"] == "True" for row in rows) == found["num_tied"] >= 1


def test_a_run_goes_on_where_it_ended_but_not_on_another_gpu(
    measured: Scripts, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    measured("tune", "run", *ARGUMENTS, "search.trials=2")
    folder = measured.folder / "run"
    first = rows_of(folder / "history.csv")
    measured("tune", "run", *ARGUMENTS, "search.trials=5")
    assert rows_of(folder / "history.csv")[:2] == first
    assert len(rows_of(folder / "history.csv")) == 5
    lines = [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]
    assert lines[0]["identity"]["gpu"] == "Imaginary 1"
    assert sum("measurement" in line for line in lines) == 5
    use(monkeypatch, replace(BENCH, name_of_gpu=lambda target: "Imaginary 2"))
    sentence = refusal(capsys, measured, "tune", *ARGUMENTS, "search.trials=2", run="run")
    assert "gpu is 'Imaginary 1' in the journal and 'Imaginary 2' now" in sentence


def test_a_checkpoint_guides_beside_the_analytic_model(
    measured: Scripts, capsys: pytest.CaptureFixture[str]
) -> None:
    measured("train", "train", "data.path=tiny.parquet", "data.features=none", "debug=tiny")
    learned = [*ARGUMENTS, "search.trials=2", "checkpoint=train/checkpoint.safetensors"]
    assert measured("tune", "run", *learned)["trials"] == 2
    identity = json.loads((measured.folder / "run" / "journal.jsonl").read_text().splitlines()[0])["identity"]
    assert len(identity["learned.checkpoint_sha256"]) == 64
    assert identity["model.name"] == "gpu_roofline"
    sentence = refusal(capsys, measured, "tune", *ARGUMENTS, "search.trials=2", run="run")
    assert "learned.checkpoint" in sentence
    absent = refusal(capsys, measured, "tune", *ARGUMENTS, "checkpoint=absent.safetensors")
    assert "absent.safetensors" in absent


@pytest.mark.slow
def test_a_search_without_a_model_measures_too(measured: Scripts) -> None:
    arguments = [word for word in ARGUMENTS if "anneal" not in word]
    assert measured("tune", "run", *arguments, "search=random", "search.trials=2")["trials"] == 2


@pytest.mark.slow
def test_a_device_that_fails_costs_one_trial_at_a_time(
    measured: Scripts, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(imaginary_gpu.BROKEN_VARIABLE, "1")
    sentence = refusal(capsys, measured, "tune", *ARGUMENTS, "search.trials=2", run="run")
    assert "no schedule could be measured" in sentence
    history = rows_of(measured.folder / "run" / "history.csv")
    assert [(row["status"], row["latency_s"]) for row in history] == [("runtime", "")] * 2


@pytest.mark.slow
def test_a_candidate_is_measured_again_where_there_is_a_gpu(
    measured: Scripts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scripts.measure, "GpuBench", lambda: BENCH)
    task = [word for word in ARGUMENTS if word.startswith(("target", "task", "measure"))]
    found = measured("measure", "run", *task, "target.cache=cache")
    assert (found["status"], found["gpu"]) == ("ok", "Imaginary 1")
    assert imaginary_gpu.CALL_S <= found["latency_s"] <= imaginary_gpu.CALL_S + 6e-6
    assert found["num_registers"] > 0


def test_a_gpu_is_named_only_if_it_is_of_the_architecture(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="there is no GPU to measure cuda_sm80 on"):
            name_of_gpu(GPU_TARGETS["cuda_sm80"])
        return
    major, minor = torch.cuda.get_device_capability()
    for target in GPU_TARGETS.values():
        if target.arch == f"sm_{major}{minor}":
            assert name_of_gpu(target) == torch.cuda.get_device_name()
        else:
            with pytest.raises(ValueError, match="the GPU of this machine is"):
                name_of_gpu(target)


def test_a_gpu_times_itself(scripts: Scripts) -> None:
    import torch

    if not torch.cuda.is_available():
        pytest.skip("there is no GPU")
    major, minor = torch.cuda.get_device_capability()
    names = [name for name, target in GPU_TARGETS.items() if target.arch == f"sm_{major}{minor}"]
    if not names:
        pytest.skip(f"no target is sm_{major}{minor}")
    arguments: list[Any] = [*ARGUMENTS[1:], f"target={names[0]}", "search.trials=4"]
    assert scripts("tune", "run", *arguments)["latency_s"] > 0
