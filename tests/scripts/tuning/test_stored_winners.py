"""Stored winners come back as they were, and what cannot be used is said in one sentence."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codegen.ops import AWKWARD_WORKLOADS, MEMORY_WORKLOADS, WORKLOADS, Matmul, operator_parameters
from codegen.schedule import build_space
from codegen.target import Target
from scripts.suites.operators.suite import STORED_SUITES
from scripts.suites.operators.table_file import read_standings
from scripts.tuning.stored_winners import (
    StoredWinner,
    read_winners,
    stored_targets,
    target_folder,
    write_winners,
)
from tests.targets import make_target

RESULTS = Path(__file__).resolve().parents[3] / "docs/results/operators"
TARGET = make_target(lanes=8)
MATMUL = Matmul(m=16, k=16, n=32)
SPACE = build_space(MATMUL.program(), TARGET)
WINNER = StoredWinner(
    operator="matmul",
    parameters=operator_parameters(MATMUL),
    candidate=SPACE.named(SPACE.sample(1, np.random.default_rng(0)), 0),
    latency_s=2e-6,
    latency_low_s=1e-6,
    latency_high_s=3e-6,
    trials=4,
    search_s=1.5,
    seed=0,
    search_sha256="0" * 64,
    code_version="v1",
    compiler="LLVM 22.1.0",
)


def test_winners_come_back_from_their_file(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "winners.json"
    write_winners(path, TARGET, {"second": WINNER, "first": WINNER})
    found = read_winners(path, TARGET)
    assert found == {"first": WINNER, "second": WINNER}
    assert found["first"].is_of(MATMUL)
    assert found["first"].is_in(SPACE)
    assert read_winners(tmp_path / "absent.json", TARGET) == {}


def test_a_winner_knows_when_the_workload_or_the_space_has_changed() -> None:
    assert not WINNER.is_of(dataclasses.replace(MATMUL, relu=True))
    renamed = dataclasses.replace(WINNER, candidate={**WINNER.candidate, "sketch": "gone"})
    assert not renamed.is_in(SPACE)
    assert not WINNER.is_in(build_space(Matmul(m=16, k=16, n=3).program(), TARGET))


def test_winners_of_another_target_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "winners.json"
    write_winners(path, TARGET, {"first": WINNER})
    other = dataclasses.replace(TARGET, name="elsewhere", l2_bytes=1)
    with pytest.raises(ValueError, match=r"is of the target imaginary \(.*\), this one is elsewhere"):
        read_winners(path, other)


def test_each_target_has_a_folder_of_its_own(tmp_path: Path) -> None:
    other = dataclasses.replace(TARGET, l2_bytes=1)
    named = dataclasses.replace(TARGET, name="AMD EPYC, 2 threads, 512-bit vectors")
    assert target_folder(tmp_path, TARGET) != target_folder(tmp_path, other)
    assert (
        target_folder(tmp_path, named).name == f"amd-epyc-2-threads-512-bit-vectors-{TARGET.fingerprint[:8]}"
    )
    write_winners(target_folder(tmp_path, named) / "winners.json", named, {})
    assert stored_targets(tmp_path) == [target_folder(tmp_path, named).name]


def test_what_the_project_stores_is_of_its_workloads_and_of_the_target_it_is_filed_under() -> None:
    named = {**WORKLOADS, **AWKWARD_WORKLOADS, **MEMORY_WORKLOADS}
    for path in RESULTS.glob("*/winners.json"):
        target = Target(**json.loads(path.read_text())["target"])
        assert target_folder(RESULTS, target) == path.parent
        winners = read_winners(path, target)
        assert [name for name, winner in winners.items() if not winner.is_of(named[name])] == []
        for suite in STORED_SUITES:
            rows = {each.name: each for each in read_standings(path.parent / f"{suite}.csv")}
            assert set(rows) == set(winners) & set(STORED_SUITES[suite])
            for name, each in rows.items():
                assert (each.sketch, each.trials) == (winners[name].candidate["sketch"], winners[name].trials)
                assert each.is_correct


def damaged(key: str, value: Any) -> str:
    """The file of one winner with one of its values replaced."""
    entry = {**dataclasses.asdict(WINNER), key: value}
    head = {"format": 1, "fingerprint": TARGET.fingerprint, "target": dataclasses.asdict(TARGET)}
    return json.dumps({**head, "winners": {"first": entry}})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "holds no stored winners"),
        ("[]", "holds no stored winners"),
        ('{"format": 1}', "holds no stored winners: KeyError"),
        (damaged("latency_s", 0), "first: no stored winner: latency 0"),
        (damaged("latency_s", "fast"), "first: no stored winner"),
        (damaged("trials", 0), "after 0 trials is impossible"),
        (damaged("search_s", -1.0), "search_s is -1.0"),
        (damaged("operator", "sort"), "operator must be one of"),
        (damaged("candidate", {"sketch": "a"}), "candidate must have a sketch and knobs"),
        (damaged("speed", 1), "unexpected keyword argument 'speed'"),
        (damaged("trials", 4).replace('"format": 1', '"format": 9'), "has format 9"),
    ],
)
def test_a_damaged_file_is_named_in_one_line(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "winners.json").write_text(text)
    with pytest.raises(ValueError, match=r"winners\.json") as caught:
        read_winners(tmp_path / "winners.json", TARGET)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
