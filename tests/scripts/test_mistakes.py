"""A mistake given to a real script is one sentence and exit code 2, and nothing on disk is harmed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from codegen.measure import detect
from codegen.ops import make_operator
from codegen.schedule import build_space
from scripts.learning.guide import PRETRAINED
from tests.scripts.in_process import run_script
from tests.scripts.tiny import Scripts, refusal

DATA = ["data.path=tiny.parquet", "data.test_fraction=0"]
MATMUL = ["task=matmul", "task.m=16", "task.k=16", "task.n=32"]
MISTAKES: list[tuple[str, list[str], str]] = [
    ("tune", ["serach.trials=4"], "serach"),
    ("tune", ["search.trails=4"], "did you mean trials"),
    ("tune", ["task=matmul", "task.m=0"], "m must be"),
    ("tune", ["num_finalists=0"], "num_finalists must be at least 1, got 0"),
    ("tune", ["model.network.hidden=96"], "model.network.hidden is 96"),
    ("tune", [*MATMUL, "checkpoint=old.safetensors"], "features version 99"),
    ("evaluate", [*DATA, "checkpoint=old.safetensors"], "features version 99"),
    ("tune", [*MATMUL, "warm_start="], "warm_start= names nothing"),
    ("tune", [*MATMUL, "warm_start=absent"], "there is no warm_start=absent"),
    ("tune", [*MATMUL, "warm_start=run"], "warm_start=run is the folder of this very run"),
    ("tune", [*MATMUL, "warm_start=old.safetensors"], "is neither the folder of a tuning run nor a set of"),
    ("measure", [*MATMUL, "knobs={tile_m:4}"], "name it with sketch="),
    ("measure", [*MATMUL, "sketch=nothing"], "sketch must be one of"),
    ("benchmark", ["suite=search", "search=random", *DATA], "needs search=annealer, got search=random"),
    ("benchmark", ["suite=throughput", "search=random", *DATA], "needs search=annealer, got search=random"),
    ("benchmark", ["suite=operators", "kernels.tuned=later"], "must be now or stored, got 'later'"),
    ("benchmark", ["suite=operators", "kernels.store=perhaps"], "none, all, better, got 'perhaps'"),
    ("benchmark", ["suite=operators", "kernels.tuned=stored", "kernels.store=better"], "is for a new search"),
    ("benchmark", ["suite=operators", "kernels.workloads=[c2]"], "['c2'] matches none of resnet18_c1"),
    ("benchmark", ["suite=awkward", "kernels.tuned=stored", "kernels.results=absent"], "targets there: none"),
    ("benchmark", ["suite=operators", "kernels.workloads=[]"], "kernels.workloads=[] matches none of"),
    ("benchmark", ["suite=tune", "kernels.store=all"], "suite=tune has no stored results"),
    ("collect", ["collect.search_share=abc"], "collect.search_share must be a number, got 'abc'"),
    ("collect", ["collect.num_trials=1.5"], "collect.num_trials must be a whole number, got '1.5'"),
    ("collect", ["measure.flush_cache=perhaps"], "measure.flush_cache must be true or false, got 'perhaps'"),
    ("tune", ["search.trials=null"], "search.trials must be given a value, got 'null'"),
    ("tune", ["search.stop_gain=1"], "stop_gain must be in [0, 1), a share of the best latency, got 1.0"),
    ("tune", ["search.stop_gain=0.1", "search.gain_window=0"], "gain_window must be at least 1, got 0"),
    ("tune", ["search.stop_gain=0.1", "search.measure=false"], "search.stop_gain=0.1 judges trials"),
    ("tune", ["measure=5"], "measure must be set value by value, such as measure.<name>=..., got '5'"),
    (
        "tune",
        ["experiment=nothing"],
        "there is no experiment=nothing; allowed: cost_models, search_efficiency",
    ),
    ("train", ["experiment=search_efficiency"], "experiment/search_efficiency.yaml sets search, which this"),
    (
        "train",
        [*DATA, "data.held_out=[first,abc]"],
        "no task 'abc' in the table; it has first, matmul_tiny, ",
    ),
    ("train", ["data.held_out=abc"], "data.held_out must be a list, such as data.held_out=[one,two]"),
    ("measure", ["knobs=[1]"], "knobs must be names with values, such as knobs={one:1,two:2}, got '[1]'"),
    ("collect", ["only=[nothing]"], "tasks.yaml: resnet18_c1, "),
    ("train", [*DATA, "seed=-1"], "seed must be from 0 to 4294967295, got -1"),
    ("measure", [*MATMUL, "seed=4294967296"], "seed must be from 0 to 4294967295, got 4294967296"),
    ("describe", ["search=random"], "describe.py has no search=...; its groups are data, logger"),
    (
        "attribute",
        [*MATMUL, "checkpoint=none"],
        "leaves model treegru untrained; train it with",
    ),
    ("evaluate", [*DATA, "checkpoint=none"], "leaves model treegru untrained; train it with"),
    ("attribute", [*MATMUL, "model=gnn"], "no checkpoint of model gnn is shipped; train one with"),
    ("measure", ["task=matmul_{}"], "cannot read 'task=matmul_{}': mismatched input '{'"),
    ("reproduce", ["search=random"], "needs search=annealer, got search=random"),
    ("reproduce", ["stored=tiny.parquet"], "tiny.parquet"),
]


def files_of(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def damaged_checkpoint(folder: Path) -> None:
    """A checkpoint of another features version, all else sound."""
    with safe_open(PRETRAINED / "treegru.safetensors", framework="numpy") as file:
        header: dict[str, Any] = json.loads(file.metadata()["looprank"])
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    header["features_version"] = 99
    save_file(arrays, folder / "old.safetensors", metadata={"looprank": json.dumps(header)})


def refused(scripts: Scripts, capsys: pytest.CaptureFixture[str], name: str, overrides: list[str]) -> str:
    """The sentence of a run that must change no file, those of an earlier run in its folder included."""
    damaged_checkpoint(scripts.folder)
    (scripts.folder / "run").mkdir()
    for written in ("config.yaml", "metrics.json", "journal.jsonl", "checkpoint.safetensors"):
        (scripts.folder / "run" / written).write_text("of an earlier run")
    before = files_of(scripts.folder)
    sentence = refusal(capsys, scripts, name, *overrides, run="run")
    assert files_of(scripts.folder) == before
    return sentence


@pytest.mark.parametrize(("name", "overrides", "words"), MISTAKES)
def test_a_mistake_is_one_sentence_and_changes_no_file(
    scripts: Scripts, capsys: pytest.CaptureFixture[str], name: str, overrides: list[str], words: str
) -> None:
    assert words in refused(scripts, capsys, name, overrides)


def test_knobs_outside_the_space_are_named(scripts: Scripts, capsys: pytest.CaptureFixture[str]) -> None:
    space = build_space(
        make_operator("matmul", {"m": 16, "k": 16, "n": 32}).program(), detect.detect_target()
    )
    sketch = space.sketches[0]
    knobs = ",".join(f"{knob.name}:{knob.values[-1] + 1}" for knob in sketch.knobs)
    sentence = refused(scripts, capsys, "measure", [*MATMUL, f"sketch={sketch.name}", f"knobs={{{knobs}}}"])
    assert f"knob {sketch.knobs[0].name} must be one of" in sentence


def test_wide_vectors_that_the_cpu_lacks_are_named(
    scripts: Scripts, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    narrow = detect.HostCpu("a narrow CPU", "x86-64-v3", {"avx2": True, "fma": True})
    monkeypatch.setattr(detect, "read_host_cpu", lambda: narrow)
    sentence = refused(scripts, capsys, "tune", [*MATMUL, "target.vector_width=512"])
    assert "vector_width=512 needs AVX-512, but this CPU (a narrow CPU) lacks" in sentence


@pytest.mark.parametrize(
    ("command", "suite", "words"),
    [
        (
            "evaluate",
            "operators",
            "models, transfer, search, recorded_ranking, got operators; benchmark.py",
        ),
        (
            "evaluate",
            "models,tune",
            "models, transfer, search, recorded_ranking, got tune; benchmark.py",
        ),
        (
            "evaluate",
            "nothing",
            "be one of checkpoint, models, transfer, search, recorded_ranking, got nothing",
        ),
        ("benchmark", "models", "memory, triton, gpu, all, got models; evaluate.py has that suite"),
    ],
)
def test_a_suite_of_another_command_is_named(tmp_path: Path, command: str, suite: str, words: str) -> None:
    finished = run_script(command, tmp_path, f"suite={suite}")
    (line,) = finished.stderr.splitlines()
    assert (finished.returncode, words in line) == (2, True), line
