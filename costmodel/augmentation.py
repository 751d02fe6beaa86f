"""More trees to learn from by what does not change a runtime."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from costmodel.batching import TreeBatch, TreeGroup
from costmodel.features.columns import NODE_COLUMNS

_NAMES = [column.name for column in NODE_COLUMNS]
_EXCHANGED = np.array(
    [
        _NAMES.index(
            name.replace("buffer1_", "buffer2_")
            if name.startswith("buffer1_")
            else name.replace("buffer2_", "buffer1_")
        )
        for name in _NAMES
    ]
)


def with_exchanged_operands(trees: TreeBatch, probability: float, rng: np.random.Generator) -> TreeBatch:
    """The trees, each with that probability with its two operands in the other order in all nodes.

    A product does not care which factor is named first. Trees whose nodes describe no second operand stay
    as they are.
    """
    return TreeBatch(tuple(_exchanged(group, probability, rng) for group in trees.groups))


def _exchanged(group: TreeGroup, probability: float, rng: np.random.Generator) -> TreeGroup:
    second = [number for number, name in enumerate(_NAMES) if name.startswith("buffer2_")]
    has_second = (group.nodes[:, :, second] != 0).any(axis=(1, 2))
    chosen = np.flatnonzero(has_second & (rng.random(len(group)) < probability))
    nodes = group.nodes.copy()
    nodes[chosen] = nodes[chosen][:, :, _EXCHANGED]
    return replace(group, nodes=nodes)
