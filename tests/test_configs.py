"""Every configuration file composes, builds what it names, and agrees with the code beside it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from codegen.gpu_target import GPU_TARGETS
from codegen.ops import OPERATORS, WORKLOADS, operator_parameters
from codegen.precision import Precision
from costmodel.checkpoint import save_checkpoint
from scripts import (
    attribute,
    collect,
    describe,
    evaluate,
    measure,
    records,
    reproduce,
    tasks,
    train,
    tune,
)
from scripts.options.groups import OPTIONS, read_task, register_groups
from scripts.options.models import DEFAULT_LOSS, DEFAULT_MODEL
from scripts.running.schemas import reject_added_keys, store
from scripts.suites.benchmarks import SUITES, Benchmark
from scripts.suites.evaluations import EVALUATIONS
from scripts.suites.models.selection import SPLITS

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS: dict[str, type[Any]] = {
    "attribute": attribute.Attribute,
    "benchmark": Benchmark,
    "collect": collect.Collect,
    "describe": describe.Describe,
    "evaluate": evaluate.Evaluate,
    "measure": measure.Measure,
    "records": records.Records,
    "reproduce": reproduce.Reproduce,
    "tasks": tasks.Tasks,
    "train": train.Train,
    "tune": tune.Tune,
}
REQUIRED = {"tasks": ["onnx=model.onnx"], "records": ["action=verify", "path=mine.db"]}
EXPERIMENTS = {"cost_models": "evaluate", "search_efficiency": "reproduce", "tuners": "benchmark"}


def composed(name: str, *overrides: str) -> Any:
    register_groups()
    store(f"{name}_schema", SCRIPTS[name])
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        config = compose(name, overrides=list(overrides))
    reject_added_keys(config)
    return OmegaConf.to_object(config)


def options(group: str) -> list[str]:
    found = sorted(path.stem for path in (ROOT / "configs" / group).glob("*.yaml"))
    assert found, f"no options in configs/{group}"
    return found


def test_every_suite_has_a_file_and_may_set_its_budget() -> None:
    assert options("suite") == sorted({*SUITES, "all", *EVALUATIONS})
    for script, names in {"benchmark": [*SUITES, "all"], "evaluate": EVALUATIONS}.items():
        for name in names:
            assert composed(script, f"suite={name}").suite == name
    found = [composed("benchmark", f"suite={name}").search.trials for name in ("tune", "operators")]
    assert found == [128, 256]
    assert composed("benchmark", "suite=operators", "search.trials=8").search.trials == 8


@pytest.mark.parametrize("name", sorted(SCRIPTS))
def test_the_defaults_of_a_script_compose(name: str) -> None:
    assert isinstance(composed(name, *REQUIRED.get(name, [])), SCRIPTS[name])


def test_every_script_with_a_configuration_is_tested_here() -> None:
    named = {path.stem for path in (ROOT / "configs").glob("*.yaml")} - {"folders"}
    assert named == set(SCRIPTS)


@pytest.mark.parametrize("name", options("task"))
def test_a_task_is_an_operator_with_a_program(name: str) -> None:
    found, operator = read_task(composed("measure", f"task={name}").task)
    assert operator.program().output.name == "y"
    if name in WORKLOADS:
        assert (found, operator) == (name, WORKLOADS[name])


@pytest.mark.parametrize("name", sorted(WORKLOADS))
def test_every_named_workload_can_be_chosen(name: str) -> None:
    assert name in options("task")


@pytest.mark.parametrize("name", sorted(OPERATORS))
def test_an_operator_offers_all_its_parameters(name: str) -> None:
    task = composed("measure", f"task={name}").task
    _, operator = read_task(task)
    assert set(task) == {"operator", *operator_parameters(operator)}


def test_parameters_of_a_task_can_be_overridden() -> None:
    _, operator = read_task(
        composed("measure", "task=conv2d", "task.in_channels=96", "task.stride=[1,2]").task
    )
    parameters = operator_parameters(operator)
    assert (parameters["in_channels"], parameters["stride"]) == (96, [1, 2])


@pytest.mark.parametrize("group", sorted(OPTIONS))
def test_every_schema_has_a_file_and_every_file_a_schema(group: str) -> None:
    schemas = set(OPTIONS[group])
    texts = {name: (ROOT / "configs" / group / f"{name}.yaml").read_text() for name in options(group)}
    for schema in schemas:
        assert any(f"- {schema}_schema\n" in text for text in texts.values()), schema
    for name, text in texts.items():
        assert any(f"- {schema}_schema\n" in text for schema in schemas), name


@pytest.mark.parametrize("name", options("experiment"))
def test_an_experiment_says_how_it_is_run_and_composes(name: str) -> None:
    assert f"experiment={name}\n" in (ROOT / "configs" / "experiment" / f"{name}.yaml").read_text()
    assert composed(EXPERIMENTS[name], f"experiment={name}")


@pytest.mark.parametrize("name", options("model"))
def test_the_options_of_a_model_open_its_checkpoint(name: str, tmp_path: Path) -> None:
    config = composed("train", f"model={name}")
    model = config.model.build(config.loss)
    path = tmp_path / "checkpoint.safetensors"
    save_checkpoint(path, model, "0")
    opened = config.model.load(path, config.loss)
    assert (opened.name, opened.state().config) == (model.name, model.state().config)


def test_an_experiment_wins_over_the_groups_of_its_script() -> None:
    shorter = composed("reproduce", "experiment=search_efficiency", "search.plan.num_trials=8")
    stated = composed("reproduce", "experiment=search_efficiency")
    assert (shorter.search.plan.num_trials, stated.search.plan.num_trials) == (8, 64)


def test_an_experiment_can_be_made_tiny() -> None:
    assert composed("reproduce", "experiment=search_efficiency", "debug=tiny").figure.num_trials < 100
    tiny = composed("evaluate", "experiment=cost_models", "debug=tiny")
    assert (tiny.suite, tiny.table.overrides) == ("models", ["model.training.num_epochs=1"])
    assert not tiny.table.also


def test_the_experiment_on_models_leaves_out_no_model_loss_or_split() -> None:
    every, curves = composed("evaluate", "experiment=cost_models").table.selections()
    assert sorted(every.models) == [name for name in options("model") if name != "global_local"]
    assert sorted(every.losses) == options("loss")
    assert (tuple(every.splits), every.num_seeds, every.num_records) == (SPLITS, 3, [0])
    assert (curves.splits, curves.num_seeds, curves.num_records) == (["by_task"], 3, [500, 2000, 8000, 0])


def test_the_table_of_models_begins_with_the_defaults_of_the_commands() -> None:
    assert composed("train") == composed("train", f"model={DEFAULT_MODEL}", f"loss={DEFAULT_LOSS}")


DEBUGGED = ["benchmark", "collect", "evaluate", "reproduce", "train", "tune"]


@pytest.mark.parametrize("name", DEBUGGED)
def test_a_debug_file_changes_something(name: str) -> None:
    assert composed(name, "debug=tiny") != composed(name)


def test_every_debug_file_is_of_a_script_or_an_option() -> None:
    folders = {path.name for path in (ROOT / "configs" / "debug").iterdir() if path.is_dir()}
    assert folders <= {*DEBUGGED, "model", "search"}
    for group, bases in {"model": {"network"}, "search": set[str]()}.items():
        named = {name.removeprefix("tiny_") for name in options(f"debug/{group}")}
        assert named - bases <= set(options(group))


@pytest.mark.parametrize("model", options("model"))
def test_a_model_is_tiny_in_a_tiny_run_if_a_file_says_how(model: str) -> None:
    whole, tiny = (composed("train", f"model={model}", f"debug={size}").model for size in ("none", "tiny"))
    assert (whole != tiny) == (f"tiny_{model}" in options("debug/model"))


@pytest.mark.parametrize("search", options("search"))
def test_every_search_is_tiny_in_a_tiny_run(search: str) -> None:
    tiny = composed("tune", f"search={search}", "model=xgboost", "debug=tiny")
    assert (tiny.search.trials, tiny.search.plan.num_trials, tiny.model.boosting.num_rounds) == (6, 3, 10)


def test_what_is_set_beside_a_tiny_run_counts() -> None:
    tiny = composed("tune", "debug=tiny", "search.anneal.num_steps=20", "model.refit.num_steps=6")
    assert (tiny.search.anneal.num_chains, tiny.search.anneal.num_steps) == (8, 20)
    assert tiny.model.refit.num_steps == 6


@pytest.mark.parametrize("name", DEBUGGED)
def test_a_script_takes_experiments(name: str) -> None:
    assert "  - experiment: null\n" in (ROOT / "configs" / f"{name}.yaml").read_text()


@pytest.mark.parametrize("name", options("model"))
def test_every_model_can_be_built_with_every_loss(name: str) -> None:
    for loss in options("loss"):
        config = composed("train", f"model={name}", f"loss={loss}")
        assert config.model.build(config.loss).name == name


@pytest.mark.parametrize(
    ("overrides", "asked"),
    [
        (["target=auto"], (None, "auto", False)),
        (["target=avx2"], (None, 256, False)),
        (["target=avx512", "target.bf16_dot=true"], (None, 512, True)),
        (["target=one_thread"], (1, "auto", False)),
    ],
)
def test_a_target_option_asks_for_its_target(
    overrides: list[str], asked: tuple[object, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[object, ...]] = []

    def detect(num_threads: object, width: object, *, bf16_dot: bool) -> None:
        seen.append((num_threads, width, bf16_dot))

    monkeypatch.setattr("scripts.options.groups.detect_target", detect)
    composed("measure", *overrides).target.detect()
    assert seen == [asked]


def test_every_target_option_is_tested_here() -> None:
    assert options("target") == sorted(["auto", "avx2", "avx512", "one_thread", *GPU_TARGETS])


@pytest.mark.parametrize("name", GPU_TARGETS)
def test_a_gpu_option_describes_its_target(name: str) -> None:
    target = composed("measure", f"target={name}", "target.storage=bfloat16").target.describe()
    assert target == replace(GPU_TARGETS[name], precision=Precision("bfloat16"))


def test_help_shows_the_configuration() -> None:
    command = [sys.executable, str(ROOT / "scripts" / "tune.py"), "--help"]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    assert "num_finalists: 5" in finished.stdout


def test_the_folder_of_a_sweep_asks_nothing_that_only_jobs_know() -> None:
    folders: Any = OmegaConf.to_container(OmegaConf.load(ROOT / "configs" / "folders.yaml"), resolve=False)
    assert "${hydra:" not in folders["sweep"]["dir"]
