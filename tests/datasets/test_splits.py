from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from datasets.splits import (
    Split,
    by_name,
    by_operator,
    by_target,
    by_task,
    check_disjoint,
    folds,
    within_task,
)
from datasets.table import RecordTable, table_from_records

NAMES = ("resnet18_c1", "resnet18_c12", "mobilenet_d9", "matmul_512", *(f"net_{n}" for n in range(10)))


@pytest.fixture
def table(make_record) -> RecordTable:
    return table_from_records([make_record(tile, task=name) for name in NAMES for tile in range(1, 11)])


def test_within_tasks_every_candidate_is_on_one_side(table: RecordTable) -> None:
    split = within_task(table, 0.3, np.random.default_rng(0))
    for whole, train, test in zip(table.tasks, split.train.tasks, split.test.tasks, strict=True):
        assert (len(train), len(test)) == (7, 3)
        assert sorted([*tiles_of(train), *tiles_of(test)]) == tiles_of(whole)


@given(
    tiles=st.lists(st.sets(st.integers(1, 24), min_size=5), min_size=2, max_size=4),
    fraction=st.sampled_from([0.1, 0.2, 0.5]),
    seed=st.integers(0, 9),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_schedule_of_tasks_alike_is_on_one_side(
    make_record, other_target, tiles: list[set[int]], fraction: float, seed: int
) -> None:
    with_bias = {"m": 8, "k": 8, "n": 8, "bias": True}
    kinds = [
        {"task": "plain", "parameters": {**with_bias, "bias": False}},
        {"task": "plain", "parameters": {**with_bias, "bias": False}, "target": other_target},
        {"task": "with_bias", "parameters": with_bias},
        {"task": "with_bias", "parameters": with_bias, "target": other_target},
    ]
    records = [make_record(tile, **kind) for kind, own in zip(kinds, tiles) for tile in sorted(own)]
    table = table_from_records(records)
    split = within_task(table, fraction, np.random.default_rng(seed))
    sides = [{tile for task in side.tasks for tile in tiles_of(task)} for side in (split.train, split.test)]
    assert sides[0].isdisjoint(sides[1])
    assert sides[0] | sides[1] == set().union(*tiles)
    assert abs(len(sides[1]) - fraction * len(set().union(*tiles))) <= 0.5


def test_each_task_gives_its_share_though_others_have_some_of_its_schedules(
    make_record, other_target
) -> None:
    records = [make_record(tile, task="plain") for tile in range(1, 61)]
    records += [make_record(tile, task="plain", target=other_target) for tile in range(31, 91)]
    split = within_task(table_from_records(records), 0.2, np.random.default_rng(0))
    assert [len(task) for task in split.test.tasks] == [12, 12]


def test_named_tasks_are_always_held_out(table: RecordTable) -> None:
    for seed in range(5):
        split = by_task(table, 0.2, np.random.default_rng(seed))
        assert set(NAMES[:4]) <= names(split.test)
        assert len(names(split.test)) == 4 + 2
        assert names(split.train) | names(split.test) == set(NAMES)


def test_the_same_seed_splits_alike_whatever_the_order(table: RecordTable) -> None:
    backwards = RecordTable(table.tasks[::-1])
    splits = [by_task(each, 0.5, np.random.default_rng(3)) for each in (table, table, backwards)]
    assert names(splits[0].test) == names(splits[1].test) == names(splits[2].test)
    others = [names(by_task(table, 0.5, np.random.default_rng(seed)).test) for seed in range(5)]
    assert any(other != others[0] for other in others)


def test_another_name_for_a_held_out_program_is_held_out_too(make_record) -> None:
    table = table_from_records(
        [make_record(task="resnet18_c2"), make_record(task="twin", program="resnet18_c2")]
    )
    split = by_task(table, 0.0, np.random.default_rng(0))
    assert [task.names for task in split.test.tasks] == [("resnet18_c2", "twin")]


def test_what_differs_only_in_its_epilogue_stays_on_one_side(make_record) -> None:
    plain = {"m": 8, "k": 8, "n": 8, "bias": False, "relu": False}
    table = table_from_records(
        [
            make_record(task="resnet18_c2", parameters=plain),
            make_record(task="net_1", parameters={**plain, "bias": True, "relu": True}),
            make_record(task="net_2", parameters={**plain, "n": 9, "bias": True}),
        ]
    )
    split = by_task(table, 0.0, np.random.default_rng(0))
    assert (names(split.test), names(split.train)) == ({"resnet18_c2", "net_1"}, {"net_2"})
    with pytest.raises(ValueError, match=r"task resnet18_c2 to train on and task net_1 .* bias, relu"):
        by_name(table, ["net_1"])


def test_a_program_with_differently_written_parameters_stays_on_one_side(make_record, other_target) -> None:
    plain = {"m": 8, "k": 8, "n": 8, "bias": False}
    table = table_from_records(
        [
            make_record(task="net_1", parameters=plain),
            make_record(
                task="net_2", program="net_1", parameters={"m": 8, "k": 8, "n": 8}, target=other_target
            ),
            make_record(task="net_3", parameters={**plain, "bias": True}),
            make_record(task="net_4", parameters={**plain, "n": 9}),
        ]
    )
    sides = [by_task(table, 0.5, np.random.default_rng(seed)) for seed in range(8)]
    assert {frozenset(names(split.test)) for split in sides} == {
        frozenset({"net_1", "net_2", "net_3"}),
        frozenset({"net_4"}),
    }
    for seed in range(8):
        judged = {frozenset(names(split.test)) for split in folds(table, 2, np.random.default_rng(seed))}
        assert judged == {frozenset({"net_1", "net_2", "net_3"}), frozenset({"net_4"})}


def test_parameters_that_leave_an_epilogue_out_stay_with_those_that_name_one(make_record) -> None:
    sizes = {"m": 8, "k": 8, "n": 8}
    table = table_from_records(
        [
            make_record(task="plain", parameters=sizes),
            make_record(task="with_bias", parameters={**sizes, "bias": True}),
            make_record(task="other", parameters={**sizes, "n": 9}),
        ]
    )
    sides = [by_task(table, 0.5, np.random.default_rng(seed)) for seed in range(8)]
    assert {frozenset(names(split.test)) for split in sides} == {
        frozenset({"plain", "with_bias"}),
        frozenset({"other"}),
    }
    with pytest.raises(ValueError, match="task with_bias to train on and task plain to test on"):
        by_name(table, ["plain"])


def test_a_digest_tells_divisions_apart(table: RecordTable) -> None:
    splits = [within_task(table, 0.3, np.random.default_rng(seed)) for seed in (0, 0, 1)]
    assert splits[0].digest == splits[1].digest != splits[2].digest
    swapped = Split(splits[0].test, splits[0].train)
    assert swapped.digest != splits[0].digest


@given(programs=st.lists(st.integers(0, 3), min_size=1, max_size=8), seed=st.integers(0, 9))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_program_is_ever_on_both_sides(table: RecordTable, programs: list[int], seed: int) -> None:
    tasks = tuple(
        replace(table.tasks[0], name=f"t{number}", program_hash=f"{program:016x}")
        for number, program in enumerate(programs)
    )
    split = by_task(RecordTable(tasks), 0.5, np.random.default_rng(seed))
    check_disjoint(split.train, split.test)
    assert len(split.train.tasks) + len(split.test.tasks) == len(tasks)


def test_a_program_on_both_sides_is_an_error_that_names_the_pair(make_record) -> None:
    one = table_from_records([make_record(task="first")])
    other = table_from_records([make_record(task="second", program="first", operator="dense")])
    table = RecordTable((*one.tasks, *other.tasks))
    with pytest.raises(ValueError, match="task first to train on and task second to test on"):
        by_name(table, ["second"])
    with pytest.raises(ValueError, match="task second to train on and task first to test on"):
        by_operator(table, ["matmul"])


def test_operators_and_targets_divide_tasks(make_record, target, other_target) -> None:
    table = table_from_records(
        [
            make_record(task="a"),
            make_record(task="b", operator="conv2d"),
            make_record(task="a", target=other_target),
        ]
    )
    assert names(by_operator(table, ["conv2d"]).test) == {"b"}
    split = by_target(table, [other_target.fingerprint])
    assert [task.target for task in split.test.tasks] == [other_target]
    assert [task.target for task in split.train.tasks] == [target, target]


def test_a_program_on_two_targets_stays_on_one_side(make_record, other_target) -> None:
    records = [make_record(task=name) for name in NAMES]
    table = table_from_records([*records, *(make_record(task=n, target=other_target) for n in NAMES)])
    for seed in range(3):
        rng = np.random.default_rng(seed)
        for split in (by_task(table, 0.3, rng), *folds(table, 3, rng)):
            check_disjoint(split.train, split.test)
            assert len(split.test.tasks) == 2 * len(names(split.test))
            assert names(split.train) | names(split.test) == set(NAMES)


def test_folds_judge_every_task_once(table: RecordTable) -> None:
    divided = folds(table, 4, np.random.default_rng(0))
    judged = sorted(name for split in divided for name in names(split.test))
    assert judged == sorted(NAMES)
    assert {len(split.test.tasks) for split in divided} == {3, 4}
    with pytest.raises(ValueError, match="num_folds must be from 2 to the 14 groups of tasks, got 15"):
        folds(table, 15, np.random.default_rng(0))


def test_what_does_not_occur_is_named_with_what_does(table: RecordTable) -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match=r"no operator 'pool'.*matmul"):
        by_operator(table, ["pool"])
    with pytest.raises(ValueError, match=r"no task 'resnet99'.*resnet18_c1.* and 6 others$"):
        by_name(table, ["resnet99"])
    with pytest.raises(ValueError, match="no target 'abc'"):
        by_target(table, ["abc"])
    with pytest.raises(ValueError, match=r"test_fraction .* got 1\.0"):
        within_task(table, 1.0, rng)
    with pytest.raises(ValueError, match=r"test_fraction .* got -0\.1"):
        by_task(table, -0.1, rng)


def test_a_pattern_that_matches_no_task_is_named_with_names_like_it(table: RecordTable) -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match=r"no task 'resnet99_\*' in the table; it has .*resnet18_c12"):
        by_task(table, 0.1, rng, ["resnet18_*", "resnet99_*"])
    with pytest.raises(ValueError, match="no task 'conv_1' and no 'conv_2' in the table"):
        by_task(table, 0.1, rng, ["conv_1", "conv_2"])
    few = RecordTable(tuple(task for task in table.tasks if task.name == "matmul_512"))
    assert names(by_task(few, 0.1, rng).test) == {"matmul_512"}  # the default patterns suit any table


def names(table: RecordTable) -> set[str]:
    return {task.name for task in table.tasks}


def tiles_of(task) -> list[int]:
    return sorted(task.named(row)["knobs"]["tile_m"] for row in range(len(task)))
