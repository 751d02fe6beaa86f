"""Runs that start from earlier trials: nothing is tried again, and they go on with the same start only."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator
from typing import Any
from zlib import crc32

import numpy as np
import pytest

from codegen.measure.measurement import Measurement
from codegen.measure.pool import Finalist
from codegen.schedule import Candidates
from datasets.parquet import save_records
from scripts.options.groups import TargetConfig
from scripts.tuning.measured_search import PoolMeasurer
from search.journal import read_journal
from search.tuner import TuneResult
from tests.scripts.tiny import Scripts, records_of, refusal
from tests.search.killing import lines_without_times

MATMUL = ["task=matmul", "task.m=16", "task.k=16", "task.n=32", "debug=tiny", "search.trials=6"]
BLIND = [*MATMUL, "model=constant", "search=random"]
LIST = "".join(
    f"- {{name: {name}, operator: matmul, parameters: {{m: 16, k: 16, n: {n}}}}}\n"
    for name, n in (("first", 16), ("second", 32))
)


def fake_latency_s(candidates: Candidates) -> list[float]:
    """Made up, but each candidate has its own."""
    return [1e-3 * (1 + crc32(key) / 2**32) for key in keys_of(candidates)]


def keys_of(candidates: Candidates) -> list[bytes]:
    return [key.tobytes() for key in list(candidates.keys())]


@dataclasses.dataclass
class FakeTimes:
    """Trials take made-up times, ``slowdown`` times longer; ``results`` are those that had finals."""

    slowdown: float = 1.0
    results: list[TuneResult] = dataclasses.field(default_factory=list)


@pytest.fixture
def fake_times(monkeypatch: pytest.MonkeyPatch) -> FakeTimes:
    """Finalists are timed in earnest."""
    fake = FakeTimes()
    finals = PoolMeasurer.measure_finalists

    def measure(self: PoolMeasurer, candidates: Candidates) -> Iterator[Measurement]:
        return (Measurement((fake.slowdown * time_s,)) for time_s in fake_latency_s(candidates))

    def kept(self: PoolMeasurer, result: TuneResult, *arguments: Any) -> list[Finalist]:
        fake.results.append(result)
        return finals(self, result, *arguments)

    monkeypatch.setattr(PoolMeasurer, "measure", measure)
    monkeypatch.setattr(PoolMeasurer, "measure_finalists", kept)
    return fake


def test_known_candidates_are_not_tried_again_and_one_may_win(
    scripts: Scripts, fake_times: FakeTimes, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "num_known" not in scripts("tune", "before", *BLIND, "search.trials=24")
    before = (scripts.folder / "before" / "journal.jsonl").read_bytes()
    capsys.readouterr()
    fake_times.slowdown = 10.0
    found = scripts("tune", "run", *BLIND, "warm_start=before", "seed=1")
    assert (found["num_known"], found["num_lessons"], found["trials"]) == (24, 0, 6)
    assert "warm start: 24 trials of this task known from before\n" in capsys.readouterr().out
    assert (scripts.folder / "before" / "journal.jsonl").read_bytes() == before
    earlier, result = fake_times.results
    assert not np.isin(result.candidates.keys(), earlier.candidates.keys()).any()
    assert keys_of(result.fastest(2)) == keys_of(earlier.fastest(2))
    assert {trial.best_latency_s for trial in result.history} == {earlier.best_latency_s}
    assert found["latency_s"] > 0
    assert found["correct"] == 1


@pytest.mark.usefixtures("fake_times")
def test_a_run_cut_short_goes_on_as_it_would_have_and_only_with_the_same_start(
    scripts: Scripts, capsys: pytest.CaptureFixture[str]
) -> None:
    learning = [*MATMUL, "model=xgboost", "checkpoint=none"]
    scripts("tune", "before", *learning)
    scripts("tune", "whole", *learning, "warm_start=before", "seed=1")
    whole = scripts.folder / "whole" / "journal.jsonl"
    assert set(read_journal(whole).plans[0].plan.arms) == {"search"}
    lines = whole.read_bytes().splitlines(keepends=True)
    cut = scripts.folder / "cut" / "journal.jsonl"
    for num_lines in (1, 3, 6):
        cut.parent.mkdir(exist_ok=True)
        cut.write_bytes(b"".join([*lines[:num_lines], lines[num_lines][:9]]))
        scripts("tune", "cut", *learning, "warm_start=before", "seed=1")
        assert lines_without_times(cut) == lines_without_times(whole)
    for other in ("warm_start=tiny.parquet", "warm_start=null"):
        said = refusal(capsys, scripts, "tune", *learning, other, "seed=1", run="cut")
        assert "warm_start_sha256 is '" in said


@pytest.mark.usefixtures("fake_times")
@pytest.mark.parametrize(("part", "value"), [("knob", 10**6), ("knob", -1), ("sketch", 99)])
def test_a_journal_with_what_its_space_lacks_is_damaged(
    scripts: Scripts, capsys: pytest.CaptureFixture[str], part: str, value: int
) -> None:
    scripts("tune", "before", *BLIND)
    journal = scripts.folder / "before" / "journal.jsonl"
    lines = journal.read_text().splitlines()
    plan = json.loads(lines[1])
    row = plan["candidates"]["positions"][0] if part == "knob" else plan["candidates"]["sketches"]
    row[0] = value
    journal.write_text("\n".join([lines[0], json.dumps(plan), *lines[2:], ""]))
    said = refusal(capsys, scripts, "tune", *BLIND, "warm_start=before")
    assert "before/journal.jsonl is damaged: it has a candidate that its space lacks" in said


@pytest.mark.usefixtures("fake_times")
def test_all_tasks_of_a_list_start_from_an_earlier_run_of_it(
    scripts: Scripts, capsys: pytest.CaptureFixture[str]
) -> None:
    (scripts.folder / "tasks.yaml").write_text(LIST)
    arguments = ["tasks=tasks.yaml", "debug=tiny", "model=xgboost", "checkpoint=none"]
    before = scripts("tune", "before", *arguments)
    capsys.readouterr()
    found = scripts("tune", "run", *arguments, "warm_start=before", "seed=1")
    assert (found["num_known"], found["num_lessons"]) == (before["trials"], 0)
    said = capsys.readouterr().out
    for name in ("first", "second"):
        known = before[f"trials_{name}"]
        assert f"warm start: {known} trials of {name} known from before" in said
        plans = [
            read_journal(scripts.folder / run / name / "journal.jsonl").plans for run in ("before", "run")
        ]
        keys = [np.concatenate([each.plan.candidates.keys() for each in of_run]) for of_run in plans]
        assert not np.isin(keys[1], keys[0]).any()
        assert set(plans[1][0].plan.arms) == {"search"}
    journals = [scripts.folder / "run" / name / "journal.jsonl" for name in ("first", "second")]
    whole = [lines_without_times(path) for path in journals]
    for path in journals:
        path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:3]))
    scripts("tune", "run", *arguments, "warm_start=before", "seed=1")
    assert [lines_without_times(path) for path in journals] == whole
    one = scripts("tune", "one", *BLIND, "warm_start=before")
    assert one["num_known"] == before["trials_second"]


@pytest.mark.usefixtures("fake_times")
def test_records_of_another_task_teach_before_the_first_plan_and_after_a_kill(scripts: Scripts) -> None:
    save_records(records_of("first", target=TargetConfig().detect()), scripts.folder / "others.parquet")
    (scripts.folder / "tasks.yaml").write_text(LIST)
    learning = ["debug=tiny", "model=xgboost", "checkpoint=none", "warm_start=others.parquet"]
    found = scripts("tune", "one", *MATMUL, *learning)
    assert (found["num_known"], found["num_lessons"]) == (0, 1)
    assert set(read_journal(scripts.folder / "one" / "journal.jsonl").plans[0].plan.arms) == {"search"}
    listed = ["tasks=tasks.yaml", "learn_together=false", *learning]
    found = scripts("tune", "run", *listed)
    assert (found["num_known"], found["num_lessons"]) == (0, 2)
    journals = [scripts.folder / "run" / name / "journal.jsonl" for name in ("first", "second")]
    whole = [lines_without_times(path) for path in journals]
    for path in journals:
        assert set(read_journal(path).plans[0].plan.arms) == {"search"}
        path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:3]))
    scripts("tune", "run", *listed)
    assert [lines_without_times(path) for path in journals] == whole


def test_a_start_that_is_none_is_refused_in_one_sentence(
    scripts: Scripts, capsys: pytest.CaptureFixture[str]
) -> None:
    (scripts.folder / "empty").mkdir()
    (scripts.folder / "notes.txt").write_text("important notes, not a database")
    for arguments, words in [
        (["warm_start=absent"], "there is no warm_start=absent; give the folder of a tuning run, or records"),
        (["warm_start=empty"], "warm_start=empty is not the folder of a tuning run: neither it nor a folder"),
        (
            ["warm_start=notes.txt"],
            "is neither the folder of a tuning run nor a set of records: notes.txt is not",
        ),
        (["warm_start=refused"], "warm_start=refused is the folder of this very run"),
        (["warm_start=tiny.parquet", "target=cuda_sm90"], "warm_start is for CPU targets: on a GPU the"),
    ]:
        assert re.search(re.escape(words), refusal(capsys, scripts, "tune", *MATMUL, *arguments))
