"""Attribution: the parts add up to the score, and each gets what it deserves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from costmodel.attribution import Part, attribute, by_node
from costmodel.batching import TreeBatch, TreeGroup
from costmodel.encoders.baselines import ConstantModel, RooflineModel
from costmodel.features.columns import NODE_COLUMNS, column_index
from tests.costmodel.synthetic import task

REUSE = column_index(NODE_COLUMNS, "buffer1_reuse")
EXTENT = column_index(NODE_COLUMNS, "extent")


class LinearModel(ConstantModel):
    """The extents of all nodes less other the reuse of the first operand."""

    def score(self, batch: TreeBatch) -> np.ndarray:
        scores = np.zeros(len(batch), dtype=np.float32)
        for group in batch.groups:
            scores[group.rows] = (group.nodes[..., EXTENT] - 2 * group.nodes[..., REUSE]).sum(axis=1)
        return scores


def one_and_others() -> tuple[TreeGroup, TreeGroup]:
    group = max(task("conv2d").trees.groups, key=len)
    return taken(group, 0, 1), taken(group, 1, len(group))


def taken(group: TreeGroup, start: int, end: int) -> TreeGroup:
    rows = np.arange(start, end)
    return replace(group, nodes=group.nodes[rows], programs=group.programs[rows], rows=np.arange(len(rows)))


def test_a_linear_model_is_explained_exactly() -> None:
    own, others = one_and_others()
    others = taken(others, 0, 1)
    values = attribute(LinearModel(), own, others, np.random.default_rng(0), num_orders=3)
    for node in range(len(own.parents)):
        change = own.nodes[0, node] - others.nodes[0, node]
        assert values.get(Part(node, 1), 0) == pytest.approx(-2 * change[REUSE], abs=1e-4)
        assert values.get(Part(node), 0) == pytest.approx(change[EXTENT], abs=1e-4)
    assert values.get(Part(None), 0) == pytest.approx(0, abs=1e-4)


def test_the_values_add_up_to_the_difference_in_score() -> None:
    own, others = one_and_others()
    model = RooflineModel()
    other = taken(others, 0, 1)
    values = attribute(model, own, other, np.random.default_rng(0))
    difference = model.score(TreeBatch((own,)))[0] - model.score(TreeBatch((other,)))[0]
    assert sum(values.values()) == pytest.approx(difference, abs=1e-5)
    assert sum(by_node(values).values()) == pytest.approx(difference, abs=1e-5)
    # The roofline looks at the program's features alone.
    assert values[Part(None)] == pytest.approx(difference, abs=1e-5)


def test_parts_that_do_not_differ_have_no_value() -> None:
    own, _ = one_and_others()
    assert attribute(RooflineModel(), own, own, np.random.default_rng(0)) == {}


def test_trees_of_another_topology_are_refused() -> None:
    own, others = one_and_others()
    small = TreeGroup((-1,), others.nodes[:1, :1], others.programs[:1], np.arange(1))
    with pytest.raises(ValueError, match="same topology"):
        attribute(RooflineModel(), own, small, np.random.default_rng(0))
