"""What earlier trials tell a run: what counts, what is left aside, and that it goes on with the same."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codegen.measure.measurement import Measurement
from codegen.measure.pool import Finalist
from codegen.ops import Operator, make_operator
from codegen.schedule import Candidates, Space, build_space
from datasets.parquet import save_records
from datasets.record import Record
from datasets.store import RecordStore
from scripts.options.groups import TargetConfig
from scripts.tuning.earlier_trials import Conditions, merged
from scripts.tuning.lessons import MAX_LESSONS
from scripts.tuning.measured_search import PoolMeasurer
from scripts.tuning.warm_start import Earlier, WarmStart, read_earlier, warm_start_of
from search.journal import read_journal
from search.tuner import TuneResult
from tests.scripts.tiny import TARGET, TASKS, Scripts, other_target, records_of, refusal
from tests.search.killing import lines_without_times

MATMUL = ["task=matmul", "task.m=16", "task.k=16", "task.n=32", "debug=tiny", "search.trials=6"]
BLIND = [*MATMUL, "model=constant", "search=random"]
LIST = "".join(
    f"- {{name: {name}, operator: matmul, parameters: {{m: 16, k: 16, n: {n}}}}}\n"
    for name, n in (("first", 16), ("second", 32))
)


def operator_of(name: str) -> Operator:
    return make_operator(*TASKS[name])


def space_of(name: str) -> Space:
    return build_space(operator_of(name).program(), TARGET)


def earlier_of(folder: Path, records: list[Record], **conditions: Any) -> Earlier:
    path = folder / "earlier.parquet"
    save_records(records, path)
    return read_earlier(
        str(path),
        folder / "own",
        Conditions(**{"target": TARGET, "is_flushed": False, **conditions}),
        winograd=True,
    )


def start_of(earlier: Earlier, name: str) -> WarmStart:
    return warm_start_of(earlier, operator_of(name), space_of(name), ())


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


@given(rows=st.lists(st.tuples(st.integers(0, 19), st.sampled_from([np.nan, 1.0, 2.0, 4.0, 7.0]))))
def test_each_kernel_is_known_once_by_the_median_of_its_latencies(rows: list[tuple[int, float]]) -> None:
    space = space_of("matmul_tiny")
    drawn = space.sample(20, np.random.default_rng(3))
    candidates = drawn[np.array([row for row, _ in rows], dtype=np.int64)]
    latencies_s = np.array([latency_s for _, latency_s in rows])
    half = len(rows) // 2
    parts = [(candidates[:half], latencies_s[:half]), (candidates[half:], latencies_s[half:])]
    known = merged(space, parts)
    expected: dict[bytes, list[float]] = {}
    for key, latency_s in zip(keys_of(space.canonical(candidates)), latencies_s, strict=True):
        expected.setdefault(key, []).extend([] if np.isnan(latency_s) else [latency_s])
    assert keys_of(known.candidates) == list(expected)
    medians_s = [np.median(found) if found else np.nan for found in expected.values()]
    np.testing.assert_allclose(known.latencies_s, medians_s)


@pytest.mark.parametrize(("suffix", "name"), [("parquet", "first"), ("db", "first"), ("parquet", "third")])
def test_records_of_the_same_program_are_known_whatever_their_name(
    tmp_path: Path, suffix: str, name: str
) -> None:
    records = [dataclasses.replace(each, task="otherwise") for each in records_of(name)]
    path = tmp_path / f"records.{suffix}"
    if suffix == "db":
        with RecordStore(path) as store:
            store.append(records)
    else:
        save_records(records, path)
    earlier = read_earlier(str(path), tmp_path / "own", Conditions(TARGET, False), winograd=True)
    start, space = start_of(earlier, name), space_of(name)
    decoded = space.canonical(space.decode([{"sketch": r.sketch, "knobs": r.knobs} for r in records]))
    assert set(start.known.candidates.keys().tolist()) == set(decoded.keys().tolist())
    assert not start.known.failed.any()
    assert start.text() == f"warm start: {len(start.known)} trials of this task known from {path}"


def test_what_is_not_comparable_is_left_aside_with_the_reason(tmp_path: Path) -> None:
    own = records_of("first", num=4)
    elsewhere = records_of("first", num=3, target=other_target(), seed=1)
    flushed = [dataclasses.replace(each, cache="flushed") for each in records_of("first", num=2, seed=2)]
    compiled = [dataclasses.replace(each, compiler="LLVM 1") for each in records_of("first", num=1, seed=3)]
    gone = [dataclasses.replace(each, sketch="gone") for each in records_of("first", num=1, seed=4)]
    earlier = earlier_of(tmp_path, [*own, *elsewhere, *flushed, *compiled, *gone])
    start = start_of(earlier, "first")
    assert len(start.known) == 4
    assert start.left_aside == {
        "on another target": 3,
        "with flushed caches": 2,
        "compiled by LLVM 1": 1,
        "that its space lacks now": 1,
    }
    assert "; left aside of this task: 1 compiled by LLVM 1, 3 on another target, 1 that" in start.text()
    with_flushed = earlier_of(tmp_path, [*own, *flushed], is_flushed=True)
    start = start_of(with_flushed, "first")
    assert (len(start.known), start.left_aside) == (2, {"with warm caches": 4})


def test_nothing_known_is_said_and_no_error(tmp_path: Path) -> None:
    start = start_of(earlier_of(tmp_path, records_of("third", num=3)), "first")
    assert (len(start.known), start.lessons) == (0, ())
    assert start.text("first") == f"warm start: nothing is known of first in {tmp_path}/earlier.parquet"
    empty = start_of(earlier_of(tmp_path, []), "first")
    assert len(empty.known) == 0


def test_the_nearest_tasks_of_the_operator_teach_and_no_other_is_featurised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = records_of("third", num=3)
    sizes = (8, 16, 32, 48, 64, 128, 256)
    for n in sizes:
        monkeypatch.setitem(TASKS, f"n{n}", ("matmul", {"m": 8, "k": 8, "n": n}))
        records += records_of(f"n{n}", num=3, all_fail=n == 48)
    changed = [dataclasses.replace(each, program_hash="0" * 16) for each in records_of("n64", num=3, seed=1)]
    earlier = earlier_of(tmp_path, [*records, *changed])
    start = start_of(earlier, "n64")
    work = [lesson.operator.flops // (2 * 8 * 8) for lesson in start.lessons]
    assert work == [128, 32, 256, 16] or work == [32, 128, 256, 16] or work == [32, 128, 16, 256]
    assert len(work) == MAX_LESSONS
    looked_at = {t.flops // (2 * 8 * 8) for t in earlier.teachers if "lesson" in vars(t)}
    assert looked_at == {128, 32, 256, 16, 48}
    assert "3 trials of this task and 4 other tasks of its operator known from" in start.text()
    others = {lesson.features.name for lesson in start.lessons if lesson.operator.flops == 2 * 8 * 8 * 32}
    start = warm_start_of(earlier, operator_of("n64"), space_of("n64"), others)
    assert 2 * 8 * 8 * 32 not in [lesson.operator.flops for lesson in start.lessons]
    assert warm_start_of(earlier, operator_of("n64"), space_of("n64"), None).lessons == ()


def test_the_identity_says_what_was_used(tmp_path: Path) -> None:
    own, others = records_of("first", num=4), records_of("second", num=4)
    first = start_of(earlier_of(tmp_path, [*own, *others]), "first").identity()
    assert first == start_of(earlier_of(tmp_path, [*others, *own, *records_of("third")]), "first").identity()
    fewer = start_of(earlier_of(tmp_path, [*own[:-1], *others]), "first").identity()
    unlearnt = start_of(earlier_of(tmp_path, own), "first").identity()
    assert len({each["warm_start_sha256"] for each in (first, fewer, unlearnt)}) == 3
    assert warm_start_of(None, operator_of("first"), space_of("first"), ()).identity() == {}


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
