"""From recorded candidates to features."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from codegen.ops import make_operator
from codegen.schedule import Candidates
from costmodel.batching import TreeBatch, TreeGroup
from costmodel.dataset import FeatureDataset, candidates_of, dataset_of, labels_of, task_trees
from costmodel.features.featurise import featurise
from datasets.table import RecordTable, TaskTable
from tests.costmodel.synthetic import OPERATORS, sample, space_of, task


def recorded(name: str, candidates: Candidates) -> TaskTable:
    """The table that records of the candidates give, sketches numbered in another order than the space's."""
    space, (operator, parameters) = space_of(name), OPERATORS[name]
    used = sorted(set(candidates.sketches.tolist()), reverse=True)
    width = max(len(space.sketches[number].knobs) for number in used)
    knobs = np.zeros((len(candidates), width), dtype=np.int64)
    for row in range(len(candidates)):
        sketch = space.sketches[candidates.sketches[row]]
        for column, knob in enumerate(sketch.knobs):
            knobs[row, column] = knob.values[candidates.positions[row, column]]
    num = len(candidates)
    return TaskTable(
        name=name,
        operator=operator,
        parameters=parameters,
        program_hash=make_operator(operator, parameters).program().hash,
        program_text="",
        target=space.target,
        sketch_names=tuple(space.sketches[number].name for number in used),
        knob_names=tuple(tuple(k.name for k in space.sketches[number].knobs) for number in used),
        sketches=np.array([used.index(number) for number in candidates.sketches.tolist()]),
        knobs=knobs,
        latency_s=np.linspace(1e-3, 2e-3, num),
        spread=np.zeros(num),
        is_failed=np.arange(num) == 1,
        failure_kinds=np.full(num, -1),
        repeat_rows=np.zeros(0, dtype=np.int64),
        repeat_pairs=np.zeros((0, 2)),
    )


@pytest.mark.parametrize("name", ["matmul", "conv2d"])
def test_records_become_the_candidates_they_were(name: str) -> None:
    candidates = sample(name, 50)
    found = candidates_of(recorded(name, candidates), space_of(name))
    np.testing.assert_array_equal(found.keys(), candidates.keys())


def test_features_of_records_are_those_of_their_candidates() -> None:
    candidates = sample("matmul", 20)
    (features,) = dataset_of(RecordTable((recorded("matmul", candidates),))).tasks
    np.testing.assert_array_equal(features.trees.programs, featurise(space_of("matmul"), candidates).programs)
    assert features.labels[0] == 1
    assert features.labels[1] == 0
    assert np.isnan(features.latency_s[1])


def test_a_data_set_reports_each_task_and_knows_its_content() -> None:
    table = RecordTable((recorded("matmul", sample("matmul", 10)), recorded("conv2d", sample("conv2d", 10))))
    names: list[str] = []
    data = dataset_of(table, names.append)
    assert names == ["matmul", "conv2d"]
    assert len(data) == 20
    assert data.hash == dataset_of(table).hash
    other = RecordTable((replace(table.tasks[0], latency_s=table.tasks[0].latency_s * 2), table.tasks[1]))
    assert data.hash != dataset_of(other).hash


@pytest.mark.parametrize(
    "change",
    [
        lambda group: {"programs": group.programs + 1},
        lambda group: {"rows": group.rows[::-1]},
        lambda group: {"parents": (-1, *range(len(group.parents) - 1))},
        lambda group: {"flows": (*group.flows, (1, 2))},
        lambda group: {"nodes": group.nodes * 2},
    ],
    ids=["programs", "rows", "parents", "flows", "nodes"],
)
def test_a_hash_is_over_all_of_the_trees(change: Callable[[TreeGroup], dict[str, Any]]) -> None:
    known = task("matmul", 30)
    group, *others = known.trees.groups
    changed = TreeBatch((replace(group, **change(group)), *others))
    before, after = (FeatureDataset((replace(known, trees=trees),)) for trees in (known.trees, changed))
    assert after.hash != before.hash


def test_a_hash_is_over_which_tasks_are_alike() -> None:
    def hash_of(*groups: str) -> str:
        names = ("matmul", "conv2d", "pool2d")
        return FeatureDataset(
            tuple(replace(task(name, 10), group=group) for name, group in zip(names, groups, strict=True))
        ).hash

    assert hash_of("a", "a", "b") == hash_of("b", "b", "a")
    assert hash_of("a", "a", "b") != hash_of("a", "b", "b")


def test_a_sketch_that_is_gone_is_named() -> None:
    table = recorded("matmul", sample("matmul", 5))
    gone = replace(table, sketch_names=("gone",) * len(table.sketch_names))
    with pytest.raises(ValueError, match="'gone'"):
        candidates_of(gone, space_of("matmul"))


def test_a_value_outside_the_space_is_named() -> None:
    table = recorded("matmul", sample("matmul", 5))
    with pytest.raises(ValueError, match="12345"):
        candidates_of(replace(table, knobs=np.full_like(table.knobs, 12345)), space_of("matmul"))


def test_labels_are_relative_to_the_best() -> None:
    np.testing.assert_allclose(labels_of(np.array([2.0, 1.0, np.nan, 4.0])), [0.5, 1.0, 0.0, 0.25])
    np.testing.assert_array_equal(labels_of(np.full(3, np.nan)), np.zeros(3))


def test_records_of_another_program_are_refused() -> None:
    table = replace(recorded("matmul", sample("matmul", 5)), program_hash="0123456789abcdef")
    with pytest.raises(ValueError, match="records are of program 0123456789abcdef, this version has"):
        task_trees(table)


def test_a_sample_is_drawn_from_all_tasks_alike() -> None:
    table = RecordTable((recorded("matmul", sample("matmul", 40)), recorded("conv2d", sample("conv2d", 20))))
    data = dataset_of(table)
    some = data.sampled(30, np.random.default_rng(0))
    assert [len(task) for task in some.tasks] == [20, 10]
    assert np.isin(some.tasks[1].latency_s, data.tasks[1].latency_s, assume_unique=True).sum() >= 9
    place = int(np.flatnonzero(data.tasks[0].latency_s == some.tasks[0].latency_s[3])[0])
    np.testing.assert_array_equal(some.tasks[0].trees.programs[3], data.tasks[0].trees.programs[place])
    assert len(data.sampled(1000, np.random.default_rng(0))) == 60
    assert [len(task) for task in data.sampled(1, np.random.default_rng(0)).tasks] == [1, 1]


def test_a_program_on_two_targets_is_two_tasks_of_one_group() -> None:
    table = recorded("matmul", sample("matmul", 6))
    elsewhere = replace(table, target=replace(table.target, name="elsewhere", l2_bytes=2 << 20))
    other = recorded("pool2d", sample("pool2d", 6))
    data = dataset_of(RecordTable((table, elsewhere, other)))
    first, second, _ = data.tasks
    assert first.name == second.name
    assert first.label != second.label
    assert first.group == second.group
    for seed in range(4):
        learning, apart = data.divided(0.5, np.random.default_rng(seed))
        assert {task.group for task in learning.tasks}.isdisjoint(task.group for task in apart.tasks)
        assert len(learning.tasks) + len(apart.tasks) == 3
        assert {len(learning.tasks), len(apart.tasks)} == {1, 2}
    assert data.divided(1.0, np.random.default_rng(0))[0].tasks


def test_taken_trees_are_those_of_all_tasks_in_a_row() -> None:
    tables = [
        recorded(name, sample(name, num)) for name, num in (("matmul", 7), ("conv2d", 5), ("pool2d", 3))
    ]
    data = dataset_of(RecordTable(tuple(tables)))
    rows = np.array([13, 8, 7, 0, 6, 0, 14, 11])
    taken, expected = data.take(rows), data.trees.take(rows)
    np.testing.assert_array_equal(taken.programs, expected.programs)
    sums = [np.zeros(len(rows)), np.zeros(len(rows))]
    for batch, result in zip((taken, expected), sums):
        for group in batch.groups:
            result[group.rows] = group.nodes.sum(axis=(1, 2))
    np.testing.assert_array_equal(*sums)
