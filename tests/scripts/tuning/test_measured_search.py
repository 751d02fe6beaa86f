"""What a tuning run writes can be read back, and what it suggests can be run."""

from __future__ import annotations

import csv
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from codegen.measure.config import MeasureConfig
from codegen.measure.jobs import MeasureJob
from codegen.measure.pool import MeasurePool
from codegen.ops import make_operator, operator_parameters
from codegen.schedule import Space, build_space
from codegen.target import BF16_FEATURE, Target
from costmodel.losses import LambdaRank, ListMLE, RankAndTime
from scripts.learning.guide import Guide
from scripts.measure import Measure
from scripts.options.groups import read_task, register_groups
from scripts.options.models import NeuralOption
from scripts.options.searches import AnnealerConfig
from scripts.running.schemas import store
from scripts.tuning.measured_search import PoolMeasurer, reproduce_command, search_identity
from scripts.tuning.outcomes import write_history
from search.journal import open_journal
from search.trials import Trial

CONFIGS = Path(__file__).resolve().parents[3] / "configs"
TARGET = Target(
    name="test",
    cpu="test",
    llvm_cpu="x86-64-v3",
    llvm_features="+avx2,+fma",
    vector_lanes=8,
    num_vector_registers=16,
    num_threads=2,
    l1_bytes=2**15,
    l2_bytes=2**20,
    l3_bytes=2**24,
)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("matmul", {"m": 8, "k": 5, "n": 16, "transpose_b": True}),
        (
            "conv2d",
            {
                "height": 9,
                "width": 9,
                "in_channels": 4,
                "out_channels": 8,
                "stride": [1, 2],
                "layout": "NHWC",
            },
        ),
        ("elementwise", {"shape": [4, 6], "ops": ["add", "relu"]}),
    ],
)
def test_the_command_in_a_failure_names_the_same_candidate(name: str, parameters: dict[str, object]) -> None:
    operator = make_operator(name, parameters)
    space = build_space(operator.program(), TARGET)
    candidate = space.named(space.sample(1, np.random.default_rng(0)), 0)
    command = reproduce_command(MeasureJob(name, operator_parameters(operator), TARGET, candidate, 3))
    python, script, *overrides = shlex.split(command)
    assert (python, script) == ("python", "scripts/measure.py")
    register_groups()
    store("measure_schema", Measure)
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        config = OmegaConf.to_object(compose("measure", overrides=overrides))
    assert isinstance(config, Measure)
    assert read_task(config.task)[1] == operator
    assert {"sketch": config.sketch, "knobs": config.knobs} == candidate
    assert (config.seed, config.target.num_threads, config.target.vector_width) == (3, 2, "256")


def test_the_command_says_whether_products_are_in_bfloat16() -> None:
    operator = make_operator("matmul", {"m": 8, "k": 16, "n": 32})
    target = replace(TARGET, vector_lanes=16, llvm_features=f"+avx512f,+{BF16_FEATURE}", bf16_dot=True)
    space = build_space(operator.program(), target)
    candidate = space.named(space.sample(1, np.random.default_rng(0)), 0)
    command = reproduce_command(MeasureJob("matmul", operator_parameters(operator), target, candidate, 3))
    assert "target.bf16_dot=true" in shlex.split(command)
    plain = replace(target, bf16_dot=False)
    command = reproduce_command(MeasureJob("matmul", operator_parameters(operator), plain, candidate, 3))
    assert "bf16_dot" not in command


def test_a_failed_trial_has_an_empty_latency_in_the_history(tmp_path: Path) -> None:
    history = [
        Trial(1, 0.5, None, None, "timeout", "random"),
        Trial(2, 0.75, 0.001, 0.001, "ok", "search"),
    ]
    write_history(tmp_path / "history.csv", history)
    with (tmp_path / "history.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[:5] == ["trial", "elapsed_s", "latency_s", "best_latency_s", "status"]
    assert [row["latency_s"] for row in rows] == ["", "0.001"]
    assert [row["status"] for row in rows] == ["timeout", "ok"]


MATMUL = make_operator("matmul", {"m": 8, "k": 5, "n": 16})


def identity_of(checkpoint: Path, space: Space) -> dict[str, Any]:
    guide = Guide(NeuralOption(), RankAndTime(), str(checkpoint))
    measurer = PoolMeasurer(cast(MeasurePool, None), MATMUL, space)
    return search_identity(AnnealerConfig(), guide, measurer, MeasureConfig(), 0)


def test_trials_made_under_a_checkpoint_since_replaced_are_not_replayed(tmp_path: Path) -> None:
    checkpoint, journal = tmp_path / "checkpoint.safetensors", tmp_path / "journal.jsonl"
    space = build_space(MATMUL.program(), TARGET)
    checkpoint.write_bytes(b"first training")
    before = identity_of(checkpoint, space)
    open_journal(journal, before).close()
    moved = checkpoint.rename(tmp_path / "moved.safetensors")
    open_journal(journal, identity_of(moved, space)).close()
    checkpoint.write_bytes(b"second training")
    after = identity_of(checkpoint, space)
    was, now = before["checkpoint_sha256"], after["checkpoint_sha256"]
    words = f"checkpoint_sha256 is '{was}' in the journal and '{now}' now; write to another folder, or delete"
    with pytest.raises(ValueError, match=words):
        open_journal(journal, after)


def test_trials_of_another_loss_are_not_replayed_though_neither_has_options() -> None:
    losses = [LambdaRank(), ListMLE()]
    ranked, listed = (Guide(NeuralOption(), loss, "none").identity() for loss in losses)
    assert ranked != listed


def test_trials_of_a_space_with_other_knobs_are_not_replayed(tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint.safetensors"
    checkpoint.write_bytes(b"trained")
    space = build_space(MATMUL.program(), TARGET)
    first = identity_of(checkpoint, space)
    assert first == identity_of(checkpoint, build_space(MATMUL.program(), TARGET))
    fewer = identity_of(checkpoint, Space(space.program, TARGET, space.sketches[1:]))
    assert {key for key, value in fewer.items() if first[key] != value} == {"space_sha256"}
