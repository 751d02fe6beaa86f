"""The suite ``gpu`` on a GPU whose clock is made up; PyTorch's times are made up as well."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from codegen.gpu_device import gpu_device
from codegen.gpu_target import GPU_TARGETS
from codegen.measure.config import MeasureConfig
from codegen.measure.peers import PeerTimes
from codegen.measure.timing import summarise
from codegen.ops import Matmul, Softmax
from codegen.precision import Precision
from scripts.options.gpu_target import GpuTargetConfig
from scripts.options.searches import AnnealerConfig
from scripts.suites import gpu_kernels
from scripts.suites.gpu_kernels import GpuSuiteConfig, gpu_metrics
from scripts.suites.gpu_standings import GpuStanding, gpu_table, over_all, roofline_s
from scripts.tuning.gpu_resources import GpuBench
from scripts.tuning.gpu_tuning import GpuTuning
from tests.scripts import imaginary_gpu

pytest.importorskip("triton", reason="triton is not installed")

HERE = str(Path(__file__).parents[1])
BENCH = GpuBench(
    "imaginary_gpu:make_workbench", "imaginary_gpu:make_compiler", (HERE,), lambda _: "Imaginary 1"
)
TARGET = replace(GPU_TARGETS["cuda_sm90"], precision=Precision("float16"))


def peer(seconds: float, *, is_correct: bool = True) -> PeerTimes:
    times_s = (seconds,) * 8
    return PeerTimes(times_s, summarise(times_s), 0.001, is_correct)


def standing(name: str, correlation: float = math.nan, **seconds: float) -> GpuStanding:
    operator = Matmul(m=1024, k=1024, n=1024)
    times = {who: peer(s) for who, s in seconds.items()}
    return GpuStanding(name, operator, TARGET, times, "dot", 48, 1, 6.0, correlation)


class Silent:
    def log(self, step: int, values: Mapping[str, float]) -> None:
        return


def test_ratios_are_to_the_fastest_eager_and_to_the_fastest_of_all() -> None:
    one = standing("a", 0.5, looprank=10e-6, torch_nchw=30e-6, torch_nhwc=20e-6, torch_compiled_nhwc=15e-6)
    assert one.metrics["vs_eager"] == pytest.approx(2.0)
    assert one.metrics["vs_best"] == pytest.approx(1.5)
    assert one.metrics["tflops"] == pytest.approx(2 * 1024**3 / 10e-6 / 1e12)
    two = standing("b", looprank=10e-6, torch=5e-6)
    values = over_all([one, two])
    assert values["geomean_vs_eager"] == pytest.approx(1.0)
    assert (values["worst_vs_best"], values["worst_vs_best_name"]) == (pytest.approx(0.5), "b")
    assert values["mean_rank_correlation"] == 0.5
    assert values["trials_per_s"] == pytest.approx(8.0)
    assert (values["num_workloads"], values["num_correct"]) == (2, 2)
    alone = standing("c", looprank=10e-6)
    assert "vs_best" not in alone.metrics
    columns, rows = gpu_table([one, alone])
    assert [len(row) for row in rows] == [len(columns)] * 2
    assert [row[columns.index("best is")] for row in rows] == ["torch_compiled_nhwc", ""]


def test_the_roofline_is_that_of_the_format() -> None:
    device = gpu_device("h100")
    large = Matmul(m=8192, k=8192, n=8192)
    assert roofline_s(large, TARGET, device) == pytest.approx(large.flops / 989.4e12)
    plain = replace(TARGET, precision=Precision("float32"))
    assert roofline_s(large, plain, device) == pytest.approx(large.flops / 66.9e12)
    rows = Softmax(rows=8192, cols=4096)
    assert roofline_s(rows, TARGET, device) == pytest.approx(2 * 2 * 8192 * 4096 / 3.35e12)


def test_a_workload_is_ranked_tuned_and_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def times(self: Any, candidate: Mapping[str, Any]) -> dict[str, PeerTimes]:
        return {"looprank": peer(40e-6), "torch": peer(50e-6)}

    monkeypatch.setattr(gpu_kernels._Workload, "_times", times)
    monkeypatch.setitem(gpu_kernels.ALL_WORKLOADS, "rows", Softmax(rows=4, cols=33))
    config = GpuSuiteConfig(workloads=("rows",), num_random=3, num_finalists=1)
    search = replace(AnnealerConfig(), trials=2)
    measure = MeasureConfig(num_repeats=3, timeout_s=900)
    tuning = GpuTuning(search, measure, config.target, 1, 0, BENCH)
    found = gpu_metrics(config, tuning, tmp_path, Silent())
    assert (found["gpu"], found["num_workloads"], found["rows_trials"]) == ("Imaginary 1", 1, 2)
    assert found["rows_vs_eager"] == pytest.approx(1.25)
    assert "worst_vs_eager" in found
    with (tmp_path / "random_trials.csv").open(newline="") as file:
        trials = list(csv.DictReader(file))
    assert [(row["workload"], row["status"]) for row in trials] == [("rows", "ok")] * 3
    assert all(float(row["latency_s"]) > 0 and float(row["estimated_s"]) > 0 for row in trials)
    with (tmp_path / "gpu.csv").open(newline="") as file:
        assert [row["workload"] for row in csv.DictReader(file)] == ["rows"]
    assert list((tmp_path / "rows" / "kernels").glob("*.py"))
    # Trials that the journal held already took the seconds that it says.
    again = gpu_metrics(config, tuning, tmp_path, Silent())
    assert again["trials_per_s"] == found["trials_per_s"]


def test_a_workload_that_cannot_be_measured_is_a_row_that_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(imaginary_gpu.BROKEN_VARIABLE, "1")
    monkeypatch.setitem(gpu_kernels.ALL_WORKLOADS, "rows", Softmax(rows=4, cols=33))
    config = GpuSuiteConfig(workloads=("rows",), num_random=0, num_finalists=1)
    search, measure = replace(AnnealerConfig(), trials=1), MeasureConfig(timeout_s=900)
    tuning = GpuTuning(search, measure, config.target, 1, 0, BENCH)
    found = gpu_metrics(config, tuning, tmp_path, Silent())
    assert (found["num_workloads"], found["num_unmeasured"], found["num_correct"]) == (1, 1, 0)
    assert (found["rows_trials"], found["rows_num_failed"]) == (1, 1)
    assert "rows: no schedule could be measured" in capsys.readouterr().out
    with (tmp_path / "gpu.csv").open(newline="") as file:
        rows = [(row["workload"], row["ours, us"], row["sketch"]) for row in csv.DictReader(file)]
    assert rows == [("rows", "", "no schedule could be measured")]


def test_what_cannot_be_asked_for_is_named() -> None:
    with pytest.raises(ValueError, match=r"gpu\.workloads: 'resnet19_\*' matches none of resnet18_c1"):
        GpuSuiteConfig(workloads=("resnet19_*",)).chosen()
    with pytest.raises(ValueError, match=r"num_random must be at least 0 .* got -1 and 3"):
        GpuSuiteConfig(num_random=-1)
    assert GpuSuiteConfig().target == GpuTargetConfig(name="cuda_sm90")
