"""Scripts on GPU targets, on a machine that may have none: kernels compiled and right, and no times."""

from __future__ import annotations

import ast
import csv
import importlib
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codegen.gpu_target import GPU_TARGETS
from codegen.measure.compile_pool import Compilation
from codegen.measure.config import MeasureConfig
from codegen.measure.jobs import MeasureJob
from codegen.measure.measurement import Failure
from codegen.ops import WORKLOADS, Matmul, operator_parameters
from codegen.precision import Precision
from codegen.schedule import build_space
from codegen.triton.limits import Limits
from scripts.options.gpu_target import GpuTargetConfig
from scripts.suites.triton_kernels import GPU_WORKLOADS, TritonConfig, agreement, cases_of
from scripts.tuning.gpu_resources import interpreter_pool
from scripts.tuning.measured_search import job_of, reproduce_command
from tests.scripts.tiny import Scripts, refusal
from tests.targets import make_gpu_target

pytest.importorskip("triton", reason="triton is not installed")

MATMUL = ["task=matmul", "task.m=64", "task.k=64", "task.n=32"]
PATIENT = ["target.cache=cache", "measure.timeout_s=120"]
QUICK = ["search.anneal.num_chains=8", "search.anneal.num_steps=10", *PATIENT]
NO_GPU = ["target=cuda_sm90", *MATMUL, *QUICK, "search.measure=false", "search.trials=6", "num_finalists=2"]


def test_tuning_without_a_gpu_gives_verified_kernels_and_no_times(scripts: Scripts) -> None:
    found = scripts("tune", "run", *NO_GPU)
    assert (found["num_verified"], found["target"]) == (2, "cuda_sm90")
    assert 2 <= found["num_compiled"] <= found["num_proposed"] == 6
    assert found["num_registers"] > 0
    assert 0 < found["occupancy"] <= 1
    assert not [name for name in found if "latency" in name or "gflops" in name]
    folder = scripts.folder / "run" / "kernels"
    with (folder / "kernels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert sorted(path.name for path in folder.glob("*.py")) == [row["file"] for row in rows]
    for row in rows:
        text = (folder / row["file"]).read_text()
        assert "target     cuda_sm90 (sm_90)" in text
        assert "@triton.jit" in text
        assert ast.literal_eval(row["knobs"]).keys() >= {"num_warps", "num_stages"}


def test_the_interpreter_has_time_whatever_the_limit_of_a_measurement() -> None:
    operator = Matmul(m=64, k=64, n=32)
    space = build_space(operator.program(), GPU_TARGETS["cuda_sm90"])
    candidate = space.named(space.sample(1, np.random.default_rng(0)), 0)
    with interpreter_pool(MeasureConfig(timeout_s=0.001)) as pool:
        assert pool.verify(job_of(operator, space, candidate, seed=0)) is None


@pytest.mark.slow
def test_compiling_ends_when_the_time_is_up(scripts: Scripts) -> None:
    found = scripts("tune", "run", *NO_GPU, "search.max_elapsed_s=0.001")
    assert found["num_compiled"] == found["num_verified"] == 1
    assert found["num_proposed"] == 6


def test_a_command_that_reproduces_a_job_examines_it_again(scripts: Scripts) -> None:
    operator = Matmul(m=64, k=64, n=32)
    target = make_gpu_target(Precision("float16"))
    space = build_space(operator.program(), target)
    named = space.named(space.sample(1, np.random.default_rng(0)), 0)
    command = reproduce_command(MeasureJob("matmul", operator_parameters(operator), target, named))
    words = shlex.split(command)
    assert words[:2] == ["python", "scripts/measure.py"]
    found = scripts("measure", "run", *words[2:], *PATIENT)
    assert found["status"] == "ok"
    assert found["num_kernels"] >= 1
    assert found["widest_load_bits"] > 0
    assert not [name for name in found if "latency" in name]


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["target=cuda_sm90", "target.storage=int8"], "storage must be one of float32, float16, bfloat16"),
        (["target=cuda_sm90", "target.device=t4"], "target.device=t4 is sm_75, but cuda_sm90 is sm_90"),
        (["target=cuda_sm90", "target.device=gtx"], "device must be one of a100"),
        (["target=cuda_sm90", "target.name=cuda_sm10"], "target.name must be one of cuda_sm80"),
        (["search.measure=false"], "search.measure=false is for GPU targets"),
    ],
)
def test_a_mistake_about_a_gpu_is_one_sentence(
    scripts: Scripts, capsys: pytest.CaptureFixture[str], overrides: list[str], words: str
) -> None:
    assert words in refusal(capsys, scripts, "tune", *MATMUL, *overrides)


@pytest.mark.parametrize("name", ["attribute", "reproduce", "benchmark"])
def test_a_gpu_is_no_target_of_commands_for_cpus(
    scripts: Scripts, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    sentence = refusal(capsys, scripts, name, "target=cuda_sm90")
    assert "target is a GPU, and this command needs a CPU: target=auto" in sentence


@pytest.mark.parametrize("name", ["random", "genetic", "exhaustive", "local_search", "tpe"])
def test_kernels_are_ranked_by_a_search_that_asks_a_model(
    scripts: Scripts, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    ranked = ["target=cuda_sm90", *MATMUL, "search.measure=false", f"search={name}"]
    assert "needs a search that asks a model: annealer or evolution" in refusal(
        capsys, scripts, "tune", *ranked
    )


def test_measuring_needs_a_gpu(scripts: Scripts, capsys: pytest.CaptureFixture[str]) -> None:
    if importlib.import_module("torch").cuda.is_available():
        pytest.skip("there is a GPU")
    sentence = refusal(capsys, scripts, "tune", *MATMUL, "target=cuda_sm90")
    assert "there is no GPU to measure cuda_sm90 on; search.measure=false ranks" in sentence


def test_the_suite_has_all_the_papers_workloads() -> None:
    assert len(TritonConfig().chosen()) == len(GPU_WORKLOADS) == len(WORKLOADS) + 7
    assert list(TritonConfig(workloads=("resnet18_c1",)).chosen()) == ["resnet18_c1"]
    with pytest.raises(ValueError, match="'fft' matches none of resnet18_c1"):
        TritonConfig(workloads=("fft",)).chosen()
    with pytest.raises(ValueError, match="num_drawn and num_workers must be at least 1"):
        TritonConfig(num_drawn=0)


@pytest.mark.parametrize("name", ["bert_attention_scores", "mobilenet_d7", "bert_layer_norm"])
def test_a_workload_has_a_case_for_each_sketch_that_fits_everywhere(name: str) -> None:
    config = TritonConfig(num_drawn=100)
    cases = cases_of(name, GPU_WORKLOADS[name], config, seed=0)
    space = build_space(GPU_WORKLOADS[name].program(), config.targets()[0])
    assert {case.candidate["sketch"] for case in cases} == {sketch.name for sketch in space.sketches}
    for target in config.targets():
        limits = Limits(build_space(GPU_WORKLOADS[name].program(), target))
        assert limits.fits(limits.space.decode([case.candidate for case in cases])).all()


def test_agreement_counts_what_rule_and_compiler_both_judged() -> None:
    def failed(kind: Any) -> Compilation:
        return Compilation((), Failure(kind, "no"))

    fine = Compilation(())
    found = agreement(
        [fine, failed("constraints"), failed("timeout"), fine], [True, False, False, False], "x"
    )
    assert found == {"num_rule_checked_x": 3, "num_not_fitting_x": 1, "rule_agreement_x": 2 / 3}
    assert agreement([failed("timeout")], [True], "x") == {}


@pytest.mark.slow
def test_the_suite_counts_what_it_did(scripts: Scripts) -> None:
    run = ["suite=triton", "debug=tiny", "triton.precision.cache=cache"]
    first = scripts("benchmark", "first", *run)
    assert first["num_kernels"] == first["num_verified"] == first["num_compiled"] == 2
    assert first["num_failed"] == 0
    for name in GPU_TARGETS:
        assert first[f"num_compiled_{name}"] == 2
        assert first[f"rule_agreement_{name}"] == 1
    assert first["compiled_per_s"] > 0
    again = scripts("benchmark", "again", *run)
    assert again["num_newly_compiled"] == 0
    assert "compiled_per_s" not in again
    with (Path(scripts.folder) / "first" / "kernels.csv").open(newline="") as file:
        assert [row["status"] for row in csv.DictReader(file)] == ["ok"] * 8


def test_the_default_target_is_a_described_device() -> None:
    assert GpuTargetConfig().describe().precision == Precision("float16")
