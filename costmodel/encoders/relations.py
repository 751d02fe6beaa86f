"""The context relation features of AutoTVM (arXiv:1805.08166, section 4 and appendix A.4), from our columns.

The paper describes loop k by context features Z_k and relates two of them, i and j, by the greatest Z_ki
among the loops with Z_kj below a threshold, for thresholds that grow by powers of two: a curve that does
not depend on how many loops there are. Ours takes statements with their merged loops as further levels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from costmodel.batching import TreeBatch, TreeGroup
from costmodel.features.columns import NODE_COLUMNS, NUM_SLOTS, PROGRAM_COLUMNS, column_index

THRESHOLDS = tuple(float(power) for power in range(2, 27, 2))
"""log2 of the touched bytes (our columns are logarithms), from a vector to the memory of a large operand."""

RELATED = ("reuse", "stride")
"""Context features of a buffer that are related to the bytes touched of it."""

RELATED_OF_LOOPS = ("outer_iterations", "inner_iterations")
"""Those of the level itself that are: the paper's top-down and bottom-up products."""

NUM_RELATIONS = NUM_SLOTS * (len(RELATED) + len(RELATED_OF_LOOPS)) * len(THRESHOLDS)


def relation_features(batch: TreeBatch) -> NDArray[np.float32]:
    """One row per tree: the program's columns, then per buffer, feature and threshold the relation.

    0 where no level touches so little of the buffer, as where the feature is 0.
    """
    width = len(PROGRAM_COLUMNS) + NUM_RELATIONS
    result = np.zeros((len(batch), width), dtype=np.float32)
    for group in batch.groups:
        parts = [group.programs, *(_curves(group, slot) for slot in range(NUM_SLOTS))]
        result[group.rows] = np.concatenate(parts, axis=1)
    return result


def _curves(group: TreeGroup, slot: int) -> NDArray[np.float32]:
    names = [f"buffer{slot}_{name}" for name in RELATED] + list(RELATED_OF_LOOPS)
    values = group.nodes[:, :, [column_index(NODE_COLUMNS, name) for name in names]]
    touched = group.nodes[:, :, column_index(NODE_COLUMNS, f"buffer{slot}_touched")]
    # A buffer that a level does not use has 0 touched bytes there; one that it uses has at least log2(4).
    is_below = (touched[:, :, None] > 0) & (touched[:, :, None] < np.array(THRESHOLDS))
    curves = np.where(is_below[:, :, :, None], values[:, :, None, :], -np.inf).max(axis=1)
    return np.where(np.isfinite(curves), curves, 0).reshape(len(group), -1).astype(np.float32)
