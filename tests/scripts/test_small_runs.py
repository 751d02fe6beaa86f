"""Every script from beginning to end with debug=tiny: it leaves what it promises, named as promised."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import pytest

from codegen.measure.detect import read_host_cpu
from codegen.measure.measurement import Measurement
from codegen.target import BF16_FEATURE
from datasets.parquet import save_records
from scripts.explain import explain
from tests.scripts.tiny import TASKS, Scripts, records_of, refusal, write_data

DATA = ["data.path=tiny.parquet", "data.test_fraction=0"]
MATMUL = ["task=matmul", "task.m=16", "task.k=16", "task.n=32"]
TUNE = ["debug=tiny", *MATMUL]
RANKED = ("pairwise_accuracy", "top1", "top5", "rmse", "r2", "kendall_tau")
TIMES = ("train_s", "candidates_per_s", "code_version")


@pytest.mark.slow
def test_training_evaluating_tuning_and_explaining(scripts: Scripts) -> None:
    trained = scripts("train", "run/train", "debug=tiny", *DATA)
    names = {f"{kind}{metric}" for metric in RANKED for kind in ("", "ceiling_", "random_")}
    assert names | {"train_s", "candidates_per_s"} <= set(trained)
    checkpoint = "checkpoint=run/train/checkpoint.safetensors"
    judged = scripts("evaluate", "evaluate", *DATA, checkpoint)
    assert {name: judged[name] for name in names} == {name: trained[name] for name in names}
    tuned = scripts("tune", "run/tune", *TUNE, checkpoint)
    times = {"latency_s", "latency_low_s", "latency_high_s", "wall_s", "search_s", "planning_s", "compile_s"}
    assert times | {"gflops", "correct", "trials"} <= set(tuned)
    assert (tuned["correct"], tuned["trials"]) == (1, 6)
    with (scripts.folder / "run/tune/history.csv").open(newline="") as file:
        columns = next(iter(csv.DictReader(file)))
    assert {"trial", "elapsed_s", "latency_s", "best_latency_s", "status"} <= set(columns)
    assert (scripts.folder / "run/tune/kernel").is_dir()
    assert any("6 schedules" in line for line in explain(scripts.folder / "run"))
    scripts("train", "run/train", "debug=tiny", "seed=1", *DATA)
    with pytest.raises(SystemExit):
        scripts("tune", "run/tune", *TUNE, checkpoint)


def test_the_same_seed_gives_the_same_metrics(scripts: Scripts) -> None:
    runs = [scripts("train", folder, "debug=tiny", *DATA) for folder in ("one", "two")]
    for run in runs:
        for name in TIMES:
            run.pop(name)
    assert runs[0] == runs[1]


@pytest.mark.slow
def test_the_benchmark_of_throughput(scripts: Scripts) -> None:
    found = scripts("benchmark", "run", "suite=throughput", "debug=tiny", *DATA)
    names = {"candidates_per_s", "compile_median_s", "trials_per_s", "train_epoch_s"}
    kinds = {f"compile_{kind}_median_s" for kind in ("random", "annealed", "plan")}
    assert names | kinds <= set(found)
    assert found["compile_median_s"] == found["compile_random_median_s"]


@pytest.mark.slow
def test_the_benchmark_of_end_use_goes_on_where_it_was(
    scripts: Scripts, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = ["suite=end_use", "debug=tiny", "data.path=tiny.parquet"]
    found = scripts("benchmark", "run", *suite, "data.test_fraction=0")
    assert {"matmul_512_treegru_trials95", "treegru_trials95", "roofline_trials95"} <= set(found)
    assert min(found["treegru_trials95"], found["roofline_trials95"]) <= 4
    (checkpoint,) = (scripts.folder / "run" / "checkpoints").iterdir()
    made_s = checkpoint.stat().st_mtime_ns
    again = scripts("benchmark", "run", *suite, "data.test_fraction=0")
    assert {name: again[name] for name in found if "trials95" in name} == {
        name: found[name] for name in found if "trials95" in name
    }
    assert checkpoint.stat().st_mtime_ns == made_s
    learnt = [*suite, "data.split=by_operator", "data.held_out=[conv2d]"]
    monkeypatch.setitem(TASKS, "large", ("matmul", {"m": 512, "k": 512, "n": 512}))
    write_data(scripts.folder / "tiny.parquet")
    assert "would learn from the workload matmul_512" in refusal(capsys, scripts, "benchmark", *learnt)


def test_the_benchmark_of_training(scripts: Scripts) -> None:
    found = scripts("benchmark", "run", "suite=training", *DATA)
    assert found["num_candidates"] == 4 * 24
    assert found["features_s"] > 0
    assert found["train_epoch_s"] > 0
    assert min(found["features_peak_mb"], found["train_peak_mb"]) > 50


@pytest.mark.slow
def test_the_benchmark_of_ranking(scripts: Scripts) -> None:
    found = scripts("benchmark", "run", "suite=ranking", "debug=tiny", *DATA)
    for metric in ("pairwise_accuracy", "top1", "top5", "kendall_tau"):
        assert f"ceiling_{metric}" in found
        for model in ("treegru", "xgboost", "roofline", "random"):
            low, high = (found[f"{model}_{end}_{metric}"] for end in ("low", "high"))
            assert low <= found[f"{model}_{metric}"] <= high
    assert found["train_s"] == found["treegru_train_s"] > 0


@pytest.mark.slow
def test_the_benchmark_of_tuning(scripts: Scripts) -> None:
    found = scripts("benchmark", "run", "suite=tune", "debug=tiny", *DATA)
    assert {"geomean_vs_best", "worst_vs_best", "worst_name", "trials", "peak_gflops"} <= set(found)
    assert found["matmul_512_correct"] == 1
    assert 0 < found["matmul_512_share_of_peak"] < 1.05


OPERATORS = ["suite=operators", "debug=tiny"]


@pytest.mark.slow
def test_the_benchmark_of_operators_is_stored_and_made_again_without_tuning(
    scripts: Scripts, capsys: pytest.CaptureFixture[str]
) -> None:
    results = f"kernels.results={scripts.folder / 'results'}"
    tuned = scripts("benchmark", "run", *OPERATORS, results, "kernels.store=all")
    assert (tuned["matmul_512_correct"], tuned["num_incorrect"], tuned["trials"]) == (1, 0, 4)
    names = {"geomean_vs_best", "worst_name", "bandwidth_gb_s", "call_looprank_s", "call_onnxruntime_s"}
    assert names | {"matmul_512_vs_best", "matmul_512_latency_low_s", "matmul_512_sketch"} <= set(tuned)
    (folder,) = (scripts.folder / "results").iterdir()
    tables = {"operators.csv", "operators_ratios.png", "operators_roofline.png", "winners.json"}
    assert tables <= {path.name for path in (scripts.folder / "run").iterdir()}
    assert {path.name for path in folder.iterdir()} == tables | {"README.md"}

    kept = (folder / "winners.json").read_bytes()
    capsys.readouterr()
    scripts("benchmark", "run", *OPERATORS, results)
    said = capsys.readouterr().out
    assert "tuning matmul_512 (1 of 1): found before" in said
    assert "kernels.tuned=stored makes the table from them" in said

    again = scripts("benchmark", "again", *OPERATORS, results, "kernels.tuned=stored")
    assert not (scripts.folder / "again" / "runs").exists()
    assert (again["matmul_512_sketch"], again["trials"]) == (tuned["matmul_512_sketch"], 4)
    better = scripts("benchmark", "better", *OPERATORS, results, "kernels.store=better", "seed=1")
    assert better["trials"] == 8
    assert (folder / "winners.json").read_bytes() != kept

    (folder / "operators.csv").write_text("workload\nmatmul_512\n")
    assert "operators.csv, line 2" in refusal(capsys, scripts, "benchmark", *OPERATORS, results)
    (folder / "winners.json").write_text(kept.decode().replace('"fingerprint": "', '"fingerprint": "0'))
    assert "is of the target" in refusal(capsys, scripts, "benchmark", *OPERATORS, results)


@pytest.mark.slow
def test_products_in_bfloat16_stand_beside_those_in_float32(
    scripts: Scripts, capsys: pytest.CaptureFixture[str]
) -> None:
    results = f"kernels.results={scripts.folder / 'results'}"
    wish = "target.bf16_dot=true"
    if not read_host_cpu().features.get(BF16_FEATURE):
        assert "bf16_dot needs" in refusal(capsys, scripts, "benchmark", *OPERATORS, wish)
        return
    scripts("benchmark", "run", *OPERATORS, results, "kernels.store=all")
    found = scripts("benchmark", "short", *OPERATORS, results, wish)
    assert found["matmul_512_correct"] == 1
    assert found["matmul_512_looprank_float32_latency_s"] > 0
    assert found["matmul_512_torch_bf16_latency_s"] > 0
    assert "bf16_dot needs 512-bit vectors" in refusal(
        capsys, scripts, "benchmark", *OPERATORS, wish, "target.vector_width=256"
    )


@pytest.mark.slow
def test_tvm_is_a_column_where_it_is_installed(
    scripts: Scripts, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = ["suite=awkward", "debug=tiny", "kernels.workloads=[matmul_97*]", "kernels.tvm=true"]
    with monkeypatch.context() as patched:
        patched.setattr("scripts.suites.operators.suite.find_spec", lambda name: None)
        assert "install the extra: pip install -e '.[tvm]'" in refusal(capsys, scripts, "benchmark", *suite)
    pytest.importorskip("tvm")
    found = scripts("benchmark", "run", *suite)
    assert found["matmul_97x97x97_tvm_trials_latency_s"] > 0
    assert found["geomean_vs_tvm_trials"] == found["matmul_97x97x97_vs_tvm_trials"]


@pytest.mark.slow
def test_the_benchmark_of_memory(scripts: Scripts, capsys: pytest.CaptureFixture[str]) -> None:
    results = f"kernels.results={scripts.folder / 'results'}"
    suite = ["suite=memory", "debug=tiny", "search.trials=4", results]
    assert "no winners of suite=memory" in refusal(
        capsys, scripts, "benchmark", *suite, "kernels.tuned=stored"
    )
    found = scripts("benchmark", "run", *suite, "kernels.store=all")
    names = {"latency_s", "gb_per_s", "share_of_bandwidth", "vs_torch", "torch_latency_s", "vs_best"}
    names |= {"share_of_copy", "share_of_copy_low", "share_of_copy_high"}
    assert {f"sum_128x768_{name}" for name in names} <= set(found)
    assert found["sum_128x768_correct"] == 1
    assert found["worst_small_name"] == "sum_128x768"
    table = (scripts.folder / "run" / "memory.md").read_text()
    assert "| sum_128x768 |" in table
    (folder,) = (scripts.folder / "results").iterdir()
    assert {path.name for path in folder.iterdir()} == {"memory.csv", "memory.md", "winners.json"}
    assert (folder / "memory.md").read_text() == table

    (folder / "memory.csv").write_text((folder / "memory.csv").read_text() + "gone,1\n")
    again = scripts("benchmark", "again", *suite, "kernels.tuned=stored", "kernels.store=all")
    assert again["sum_128x768_correct"] == 1
    assert "gone" not in (folder / "memory.csv").read_text()


@pytest.mark.slow
def test_the_benchmark_of_awkward_shapes(scripts: Scripts) -> None:
    found = scripts("benchmark", "run", "suite=awkward", "debug=tiny")
    assert found["matmul_97x97x97_vs_neighbour"] == found["worst_vs_neighbour"] > 0
    assert found["worst_neighbour_name"] == "matmul_97x97x97"
    assert found["num_incorrect"] == 0


@pytest.mark.slow
def test_the_benchmark_of_searching_and_its_figure(scripts: Scripts) -> None:
    found = scripts("benchmark", "run", "suite=search", "debug=tiny", *DATA)
    assert {"median_trials_to_random_best", "matmul_512_trials_to_random_best"} <= set(found)
    drawn = scripts("reproduce", "figure", "experiment=search_efficiency", "debug=tiny")
    assert (drawn["num_seeds"], drawn["num_compared"]) == (1, 0)
    files = {"search_efficiency.csv", "search_efficiency.png", "points.csv", "metrics.json", "config.yaml"}
    assert files <= {path.name for path in (scripts.folder / "figure").iterdir()}
    again = scripts(
        "reproduce", "figure", "experiment=search_efficiency", "debug=tiny", "stored=figure/points.csv"
    )
    assert (again["num_compared"], again["within_tolerance"]) == (6, 1)


def test_a_sweep_over_models_has_a_result_each(scripts: Scripts) -> None:
    scripts("train", "sweep", "-m", "model=constant,random", *DATA)
    found = [json.loads((scripts.folder / f"sweep/{job}/metrics.json").read_text()) for job in (0, 1)]
    assert [metrics["model"] for metrics in found] == ["constant", "random"]
    assert found[0]["pairwise_accuracy"] == 0.5


def test_curves_go_to_tensorboard(scripts: Scripts) -> None:
    scripts("train", "run", "debug=tiny", "logger=tensorboard", *DATA)
    (events,) = (scripts.folder / "run" / "tensorboard").iterdir()
    assert events.name.startswith("events.out.tfevents")
    assert events.stat().st_size > 100


def test_curves_go_to_wandb_offline(scripts: Scripts) -> None:
    pytest.importorskip("wandb")
    scripts("train", "run", "debug=tiny", "logger=wandb", *DATA)
    assert list((scripts.folder / "run" / "wandb").glob("offline-run-*"))


def test_tasks_whose_times_are_all_alike_have_no_order_and_no_metric_of_it(scripts: Scripts) -> None:
    alike = [replace(record, measurement=Measurement((1e-3,))) for record in records_of("matmul_tiny")]
    save_records(alike, scripts.folder / "alike.parquet")
    data = ["data.path=alike.parquet", "data.split=within_task", "data.features=none"]
    found = scripts("evaluate", "run", "model=roofline", *data)
    assert found["roofline_top5"] == 1
    assert "roofline_pairwise_accuracy" not in found
