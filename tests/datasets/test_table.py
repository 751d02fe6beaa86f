from __future__ import annotations

import statistics
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codegen.measure.measurement import FAILURE_KINDS
from datasets.columns import COLUMNS, concatenate_columns, to_columns
from datasets.grouping import medians
from datasets.parquet import load_columns, save_records
from datasets.table import table_from_columns, table_from_records

SECONDS_FOR_30_000 = 5.0  # about 0.2 on a quiet machine


def test_labels_are_relative_to_the_best_of_the_task(make_record) -> None:
    [task] = table_from_records(
        [make_record(1, (2e-3,)), make_record(2, failure="timeout"), make_record(3, (1e-3,))]
    ).tasks
    assert task.labels.tolist() == [0.5, 0.0, 1.0]
    assert task.is_failed.tolist() == [False, True, False]
    assert np.isnan(task.latency_s[1])
    assert task.failure_kinds.tolist() == [-1, FAILURE_KINDS.index("timeout"), -1]
    assert task.best_latency_s == 1e-3


def test_a_task_whose_trials_all_failed_has_labels_of_zero(make_record) -> None:
    [task] = table_from_records([make_record(1, failure="compile"), make_record(2, failure="runtime")]).tasks
    assert task.labels.tolist() == [0.0, 0.0]
    assert np.isnan(task.best_latency_s)


def test_trials_of_a_candidate_are_merged_and_paired_in_time(make_record) -> None:
    [task] = table_from_records(
        [
            make_record(1, (5e-3, 6e-3, 7e-3), minute=9, source="repeat"),
            make_record(2, (1e-3,), minute=1),
            make_record(1, (1e-3, 2e-3), minute=2),
        ]
    ).tasks
    assert [task.named(row)["knobs"]["tile_m"] for row in range(2)] == [2, 1]
    assert task.latency_s.tolist() == [1e-3, 5e-3]
    assert task.repeat_rows.tolist() == [1]
    assert task.repeat_pairs == pytest.approx(np.array([[1.5e-3, 6e-3]]))
    assert task.spread == pytest.approx([0.0, 4e-3 / 5e-3])


def test_a_chance_failure_is_forgiven_but_not_a_wrong_result(make_record) -> None:
    [task] = table_from_records(
        [
            make_record(1, failure="timeout"),
            make_record(1, minute=1),
            make_record(2, minute=2),
            make_record(2, failure="correctness", minute=3),
        ]
    ).tasks
    assert task.is_failed.tolist() == [False, True]
    assert task.labels.tolist() == [1.0, 0.0]
    assert len(task.repeat_rows) == 0


def test_targets_and_tasks_stay_apart(make_record, other_target) -> None:
    table = table_from_records(
        [make_record(1), make_record(1, target=other_target), make_record(1, task="b"), make_record(2)]
    )
    found = [(task.name, task.target.name, len(task)) for task in table.tasks]
    assert found == [("task_a", "here", 2), ("task_a", "elsewhere", 1), ("b", "here", 1)]
    assert table.num_candidates == 4


def test_sketches_with_different_knobs_share_a_table(make_record) -> None:
    one = make_record(sketch="packed", knobs={"tile": 3})
    two = make_record(sketch="tiled", knobs={"a": 5, "b": 6}, minute=1)
    [task] = table_from_records([two, one]).tasks
    assert [task.named(row) for row in range(2)] == [
        {"sketch": "packed", "knobs": {"tile": 3}},
        {"sketch": "tiled", "knobs": {"a": 5, "b": 6}},
    ]
    assert task.knobs.shape == (2, 2)


def test_a_task_in_two_tables_is_one_task(make_record) -> None:
    here = [make_record(1, (2e-3,)), make_record(2, (4e-3,), minute=1), make_record(9, task="other")]
    there = [
        make_record(1, (1e-3,), minute=2, task="alias", program="task_a"),
        make_record(3, (8e-3,), minute=3, sketch="packed", knobs={"tile": 3}),
    ]
    table = table_from_columns(concatenate_columns([to_columns(here), to_columns(there)]))
    task, other = table.tasks
    assert (task.names, other.names) == (("task_a", "alias"), ("other",))
    assert [task.named(row)["knobs"].get("tile_m") for row in range(3)] == [1, 2, None]
    assert task.labels == pytest.approx([1.0, 1.5 / 4, 1.5 / 8])
    assert task.repeat_pairs == pytest.approx(np.array([[2e-3, 1e-3]]))


def test_flushed_and_warm_times_are_never_merged(make_record) -> None:
    warm, flushed = make_record(1, (1e-3,)), make_record(1, (5e-3,), minute=1, cache="flushed")
    tasks = table_from_records([warm, flushed]).tasks
    assert [(task.cache, task.latency_s.tolist()) for task in tasks] == [
        ("warm", [1e-3]),
        ("flushed", [5e-3]),
    ]
    assert [len(task.repeat_rows) for task in tasks] == [0, 0]


def test_times_of_two_compilers_are_never_merged(make_record) -> None:
    old, new = (
        make_record(1, (1e-3,), compiler="LLVM 1"),
        make_record(1, (2e-3,), minute=1, compiler="LLVM 2"),
    )
    tasks = table_from_records([old, new]).tasks
    assert [(t.compiler, t.latency_s.tolist()) for t in tasks] == [("LLVM 1", [1e-3]), ("LLVM 2", [2e-3])]
    assert [len(task.repeat_rows) for task in tasks] == [0, 0]


def test_targets_of_one_fingerprint_are_one_target(make_record, target) -> None:
    table = table_from_records([make_record(1), make_record(2, target=replace(target, name="renamed"))])
    assert [len(task) for task in table.tasks] == [2]


def test_a_trial_that_is_in_two_tables_counts_once(make_record) -> None:
    columns = to_columns([make_record(1), make_record(1, minute=1)])
    once, twice = (table_from_columns(concatenate_columns([columns] * num)) for num in (1, 2))
    assert twice.tasks[0].repeat_pairs.tolist() == once.tasks[0].repeat_pairs.tolist()
    assert twice.tasks[0].spread.tolist() == once.tasks[0].spread.tolist()


def test_no_tables_at_all_make_an_empty_one(make_record) -> None:
    assert table_from_columns(concatenate_columns([to_columns([])] * 2)).tasks == ()


@pytest.mark.parametrize("values", [[1], [1, 2, 3]])
def test_a_record_with_another_number_of_knobs_is_refused_by_name(make_record, values: list[int]) -> None:
    columns = to_columns([make_record(1)])
    knobs = pa.array([values], COLUMNS["knobs"])
    changed = columns.set_column(columns.schema.get_field_index("knobs"), "knobs", knobs)
    with pytest.raises(ValueError, match=rf"task task_a: sketch tiled has .* but a record has {len(values)}"):
        table_from_columns(changed)


def test_taking_rows_keeps_their_repeats(make_record) -> None:
    trials = [make_record(tile, (tile * 1e-3,), minute=tile) for tile in (1, 2, 3)]
    again = [make_record(tile, (tile * 2e-3,), minute=tile + 10) for tile in (1, 3)]
    [task] = table_from_records(trials + again).tasks
    part = task.take(np.array([2, 1]))
    assert [part.named(row)["knobs"]["tile_m"] for row in range(2)] == [3, 2]
    assert part.repeat_rows.tolist() == [0]
    assert part.repeat_pairs == pytest.approx(np.array([[3e-3, 6e-3]]))
    assert part.labels.max() == 1.0


def test_no_records_make_an_empty_table() -> None:
    assert table_from_records([]).tasks == ()


def test_a_published_file_gives_the_same_table(tmp_path: Path, make_record) -> None:
    records = [make_record(tile % 7, (tile * 1e-3,), minute=tile) for tile in range(1, 20)]
    path = tmp_path / "r.parquet"
    save_records(records, path)
    [ours], [theirs] = table_from_records(records).tasks, table_from_columns(load_columns(path)).tasks
    assert np.allclose(ours.latency_s, theirs.latency_s, rtol=1e-6)
    assert np.array_equal(ours.knobs, theirs.knobs)
    assert np.array_equal(ours.repeat_rows, theirs.repeat_rows)


def test_thirty_thousand_records_load_quickly(tmp_path: Path, make_record) -> None:
    few = [make_record(tile, task=f"t{tile % 80}", trial=tile) for tile in range(1, 1_001)]
    save_records(few * 30, tmp_path / "r.parquet")
    start_s = time.perf_counter()
    table = table_from_columns(load_columns(tmp_path / "r.parquet"))
    assert time.perf_counter() - start_s < SECONDS_FOR_30_000
    assert table.num_candidates == 1_000


@given(st.lists(st.tuples(st.integers(0, 4), st.floats(1e-9, 1e3)), max_size=30))
def test_grouped_medians_are_medians(pairs: list[tuple[int, float]]) -> None:
    groups = np.array([group for group, _ in pairs], dtype=np.int64)
    values = np.array([value for _, value in pairs])
    median, quartile_range = medians(values, groups, 5)
    for group in range(5):
        mine = values[groups == group]
        if len(mine):
            low, high = np.percentile(mine, [25, 75])
            assert median[group] == pytest.approx(statistics.median(mine), rel=1e-12)
            assert quartile_range[group] == pytest.approx(high - low, rel=1e-9, abs=1e-12)
        else:
            assert np.isnan(median[group])


def test_programs_of_one_name_have_labels_of_their_own(make_record) -> None:
    some = [make_record(task="conv", program=program) for program in ("small", "large")]
    table = table_from_records([*some, make_record(task="other")])
    labels = [task.label for task in table.tasks]
    assert len(set(labels)) == 3
    assert all(task.program_hash in task.label for task in table.tasks[:2])
    assert table.tasks[2].program_hash not in labels[2]
    assert table.tasks[0].take(np.array([0])).label == labels[0]
