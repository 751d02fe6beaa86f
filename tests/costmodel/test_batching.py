"""Batches keep every tree with its row, whatever the grouping."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from costmodel.batching import TreeBatch, TreeGroup, concatenate_batches, forest_of, levels

TOPOLOGIES = [(-1,), (-1, 0, 1, 2), (-1, 0, 0, 1, 1, 4), (-1, 0, 1, 1, 0, 4, 4, 4)]

FLOWS = {parents: tuple((0, node) for node in range(1, len(parents), 2)) for parents in TOPOLOGIES}


@st.composite
def batches(draw: st.DrawFn) -> TreeBatch:
    """Trees of several topologies, rows in any order."""
    chosen = draw(st.lists(st.sampled_from(TOPOLOGIES), min_size=1, unique=True))
    sizes = [draw(st.integers(1, 5)) for _ in chosen]
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    rows = np.split(rng.permutation(sum(sizes)), np.cumsum(sizes)[:-1])
    groups = (
        TreeGroup(parents, rng.random((size, len(parents), 3)), rng.random((size, 2)), at, FLOWS[parents])
        for parents, size, at in zip(chosen, sizes, rows, strict=True)
    )
    return TreeBatch(tuple(groups))


def tree_sums(batch: TreeBatch) -> np.ndarray:
    """A fold by recursion, tree by tree: each node halves the sum of its children and adds itself."""
    result = np.zeros((len(batch), 3))
    for group in batch.groups:
        for place, row in enumerate(group.rows):
            state = group.nodes[place].astype(np.float64)
            for node in range(len(group.parents) - 1, 0, -1):
                state[group.parents[node]] += state[node] / 2
            result[row] = state[0]
    return result


def forest_sums(batch: TreeBatch) -> np.ndarray:
    """The same fold, level by level."""
    forest = forest_of(batch)
    parts = np.split(forest.nodes.astype(np.float64), np.cumsum(forest.sizes[::-1])[:-1])
    state = parts[0]
    for own, parents in zip(parts[1:], reversed(forest.parents), strict=True):
        sums = np.zeros_like(own)
        np.add.at(sums, parents, state)
        state = own + sums / 2
    result = np.zeros((len(batch), 3))
    result[forest.rows] = state
    return result


@given(batch=batches())
def test_folding_a_forest_equals_folding_each_tree(batch: TreeBatch) -> None:
    np.testing.assert_allclose(forest_sums(batch), tree_sums(batch))


@given(batch=batches(), seed=st.integers(0, 99), num=st.integers(0, 12))
def test_taking_rows_keeps_trees_whole(batch: TreeBatch, seed: int, num: int) -> None:
    rows = np.random.default_rng(seed).integers(len(batch), size=num)
    taken = batch.take(rows)
    assert len(taken) == num
    if num:
        np.testing.assert_array_equal(taken.programs, batch.programs[rows])
        np.testing.assert_allclose(tree_sums(taken), tree_sums(batch)[rows])


@given(first=batches(), second=batches())
def test_concatenation_puts_one_batch_after_the_other(first: TreeBatch, second: TreeBatch) -> None:
    both = concatenate_batches([first, second])
    np.testing.assert_allclose(tree_sums(both), np.concatenate([tree_sums(first), tree_sums(second)]))
    assert len({group.parents for group in both.groups}) == len(both.groups)


def test_levels_are_depths() -> None:
    nodes = [own.tolist() for own, _ in levels((-1, 0, 1, 1, 0, 4))]
    above = [parents.tolist() for _, parents in levels((-1, 0, 1, 1, 0, 4))]
    assert nodes == [[0], [1, 4], [2, 3, 5]]
    assert above == [[0], [0, 0], [0, 0, 1]]


def test_arrays_that_do_not_match_are_refused() -> None:
    with pytest.raises(ValueError, match="2 trees of 3 nodes"):
        TreeGroup((-1, 0, 1), np.zeros((2, 2, 5), np.float32), np.zeros((2, 1), np.float32), np.arange(2))
    with pytest.raises(ValueError, match="1 program vectors"):
        TreeGroup((-1,), np.zeros((2, 1, 5), np.float32), np.zeros((1, 1), np.float32), np.arange(2))


@given(batch=batches())
def test_a_forest_knows_the_tree_and_the_place_of_every_node(batch: TreeBatch) -> None:
    forest = forest_of(batch)
    for number, row in enumerate(forest.rows.tolist()):
        group, place = next((g, int(np.flatnonzero(g.rows == row)[0])) for g in batch.groups if row in g.rows)
        mine = np.flatnonzero(forest.trees == number)
        mine = mine[np.argsort(forest.places[mine])]
        np.testing.assert_array_equal(forest.nodes[mine], group.nodes[place])
        np.testing.assert_array_equal(forest.parent_places[mine], np.maximum(group.parents, 0))
        above = dict(forest.edges[::-1].T.tolist())
        assert [above.get(node, -1) for node in mine.tolist()] == [
            -1 if parent < 0 else mine[parent] for parent in group.parents
        ]
        depths = [forest.depths[mine[parent]] + 1 if parent >= 0 else 0 for parent in group.parents]
        np.testing.assert_array_equal(forest.depths[mine], depths)
        flows = forest.flows[:, np.isin(forest.flows[0], mine)].T
        assert [tuple(forest.places[flow]) for flow in flows] == list(group.flows)
    inner = np.setdiff1d(np.arange(len(forest.nodes)), forest.leaves)
    np.testing.assert_array_equal(inner, np.unique(forest.edges[0]))
