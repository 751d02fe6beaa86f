"""Which loops and accesses of a candidate drive its score: Shapley values of the parts of its tree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from costmodel.batching import TreeBatch, TreeGroup
from costmodel.features.columns import NODE_COLUMNS, NUM_SLOTS
from costmodel.model import CostModel

FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class Part:
    """Features that belong together: of a node, what it says of one buffer (``slot``) or the rest.

    The features of the whole program belong to no node.
    """

    node: int | None
    slot: int | None = None


def attribute(
    model: CostModel, tree: TreeGroup, background: TreeGroup, rng: np.random.Generator, num_orders: int = 64
) -> dict[Part, float]:
    """What each part adds to the score, against candidates of the background; equal parts are left out.

    The Shapley value (Strumbelj and Kononenko 2014), estimated from random orders in which the parts of a
    background candidate are replaced one by one by those of ``tree``. For any model. The values add up to
    the score less the mean score of the background candidates that were drawn.

    Raises:
        ValueError: ``tree`` is not one tree of the background's topology.
    """
    if len(tree) != 1 or tree.parents != background.parents or not len(background):
        raise ValueError("attribution is of one tree, before some of the same topology")
    own, others = _flat(tree)[0], _flat(background)
    parts = {
        part: columns
        for part, columns in _parts(len(tree.parents), len(own)).items()
        if (others[:, columns] != own[columns]).any()
    }
    columns = list(parts.values())
    walks = np.empty((num_orders, len(columns) + 1, len(own)), dtype=np.float32)
    orders = [rng.permutation(len(columns)) for _ in range(num_orders)]
    for walk, order in zip(walks, orders):
        walk[:] = others[rng.integers(len(others))]
        for step, number in enumerate(order, start=1):
            walk[step:, columns[number]] = own[columns[number]]
    scores = model.score(_batch(walks.reshape(-1, len(own)), tree)).reshape(num_orders, -1)
    totals = np.zeros(len(columns))
    for steps, order in zip(np.diff(scores.astype(np.float64), axis=1), orders):
        totals[order] += steps
    return dict(zip(parts, (totals / num_orders).tolist()))


def by_node(values: Mapping[Part, float]) -> dict[int | None, float]:
    """The values of the parts of each node together."""
    result: dict[int | None, float] = {}
    for part, value in values.items():
        result[part.node] = result.get(part.node, 0.0) + value
    return result


def _parts(num_nodes: int, width: int) -> dict[Part, NDArray[np.int64]]:
    """The columns of every part in the flat features of a tree."""
    owners: dict[int | None, list[int]] = {slot: [] for slot in (None, *range(NUM_SLOTS))}
    for column, name in enumerate(each.name for each in NODE_COLUMNS):
        prefix = name.partition("_")[0]
        owners[int(prefix[-1]) if prefix.startswith("buffer") else None].append(column)
    parts = {
        Part(node, slot): node * len(NODE_COLUMNS) + np.array(columns)
        for node in range(num_nodes)
        for slot, columns in owners.items()
    }
    return {**parts, Part(None): np.arange(num_nodes * len(NODE_COLUMNS), width)}


def _flat(group: TreeGroup) -> FloatArray:
    return np.concatenate([group.nodes.reshape(len(group), -1), group.programs], axis=1)


def _batch(flat: FloatArray, like: TreeGroup) -> TreeBatch:
    width = len(like.parents) * len(NODE_COLUMNS)
    nodes = flat[:, :width].reshape(len(flat), len(like.parents), -1)
    group = TreeGroup(like.parents, nodes, flat[:, width:], np.arange(len(flat)), like.flows)
    return TreeBatch((group,))
