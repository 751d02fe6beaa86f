"""What earlier trials tell a run: what counts, and what is left aside."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codegen.ops import Operator, make_operator
from codegen.schedule import Candidates, Space, build_space
from datasets.parquet import save_records
from datasets.record import Record
from datasets.store import RecordStore
from scripts.tuning.earlier_trials import Conditions, merged
from scripts.tuning.lessons import MAX_LESSONS
from scripts.tuning.warm_start import Earlier, WarmStart, read_earlier, warm_start_of
from tests.scripts.tiny import TARGET, TASKS, other_target, records_of


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


def keys_of(candidates: Candidates) -> list[bytes]:
    return [key.tobytes() for key in list(candidates.keys())]


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
