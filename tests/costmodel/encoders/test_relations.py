"""The relation features against their definition, level by level."""

from __future__ import annotations

import numpy as np

from costmodel.encoders.relations import (
    NUM_RELATIONS,
    RELATED,
    RELATED_OF_LOOPS,
    THRESHOLDS,
    relation_features,
)
from costmodel.features.columns import NODE_COLUMNS, NUM_SLOTS, PROGRAM_COLUMNS, column_index
from tests.costmodel.synthetic import task


def test_a_relation_is_the_greatest_feature_of_the_levels_that_touch_less() -> None:
    trees = task("conv2d", 20).trees
    found = relation_features(trees)
    assert found.shape == (20, len(PROGRAM_COLUMNS) + NUM_RELATIONS)
    np.testing.assert_array_equal(found[:, : len(PROGRAM_COLUMNS)], trees.programs)
    for group in trees.groups:
        for place, row in enumerate(group.rows):
            expected = []
            for slot in range(NUM_SLOTS):
                names = [f"buffer{slot}_{name}" for name in RELATED] + list(RELATED_OF_LOOPS)
                touched = group.nodes[place, :, column_index(NODE_COLUMNS, f"buffer{slot}_touched")]
                for threshold in THRESHOLDS:
                    below = [node for node, bytes_ in enumerate(touched) if 0 < bytes_ < threshold]
                    for name in names:
                        values = group.nodes[place, below, column_index(NODE_COLUMNS, name)]
                        expected.append(values.max() if below else 0)
            np.testing.assert_array_equal(found[row, len(PROGRAM_COLUMNS) :], np.float32(expected))
