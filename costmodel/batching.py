"""Batches of loop trees.

Trees of one topology are stacked into a ``TreeGroup``: one array, one list of parents. A ``TreeBatch``
holds the groups of N programs in any order. ``levels_of`` lays trees of mixed topology out as one forest
whose levels are folded together, with results equal to folding group by group.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
RowArray = NDArray[np.int64]


@dataclass(frozen=True)
class TreeGroup:
    """Trees of one topology.

    ``parents``: per node in pre-order, -1 for the root. ``nodes``: (num_trees, num_nodes, num_features).
    ``programs``: (num_trees, num_program_features). ``rows``: where the trees stand in the batch.
    """

    parents: tuple[int, ...]
    nodes: FloatArray
    programs: FloatArray
    rows: RowArray

    def __post_init__(self) -> None:
        if self.nodes.shape[:2] != (len(self.rows), len(self.parents)):
            raise ValueError(
                f"nodes of shape {self.nodes.shape} are not {len(self.rows)} trees of {len(self.parents)} nodes"
            )
        if len(self.programs) != len(self.rows):
            raise ValueError(f"{len(self.programs)} program vectors for {len(self.rows)} trees")

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True)
class TreeBatch:
    """N trees; the rows of the groups are 0 .. N-1, each once."""

    groups: tuple[TreeGroup, ...]

    def __len__(self) -> int:
        return sum(len(group) for group in self.groups)

    @property
    def programs(self) -> FloatArray:
        """Program vectors in batch order, shape (N, num_program_features)."""
        width = self.groups[0].programs.shape[1] if self.groups else 0
        result = np.zeros((len(self), width), dtype=np.float32)
        for group in self.groups:
            result[group.rows] = group.programs
        return result

    def take(self, rows: RowArray) -> TreeBatch:
        """The trees at some rows, in that order; a row may be taken more than once."""
        home, place = self._homes()
        groups = []
        for number, group in enumerate(self.groups):
            mine = np.flatnonzero(home[rows] == number)
            if len(mine):
                taken = place[rows[mine]]
                groups.append(TreeGroup(group.parents, group.nodes[taken], group.programs[taken], mine))
        return TreeBatch(tuple(groups))

    def _homes(self) -> tuple[RowArray, RowArray]:
        """Group number and place in the group of every row."""
        home = np.zeros(len(self), dtype=np.int64)
        place = np.zeros(len(self), dtype=np.int64)
        for number, group in enumerate(self.groups):
            home[group.rows] = number
            place[group.rows] = np.arange(len(group))
        return home, place


def concatenate_batches(batches: Sequence[TreeBatch]) -> TreeBatch:
    """All trees, batch after batch; groups of one topology become one group."""
    parts: dict[tuple[int, ...], list[tuple[TreeGroup, RowArray]]] = {}
    start = 0
    for batch in batches:
        for group in batch.groups:
            parts.setdefault(group.parents, []).append((group, group.rows + start))
        start += len(batch)
    return TreeBatch(
        tuple(
            TreeGroup(
                parents,
                np.concatenate([group.nodes for group, _ in same]),
                np.concatenate([group.programs for group, _ in same]),
                np.concatenate([rows for _, rows in same]),
            )
            for parents, same in parts.items()
        )
    )


def score_groups(batch: TreeBatch, score: Callable[[TreeGroup], FloatArray]) -> FloatArray:
    """Scores of all trees in batch order, from a function that scores one group."""
    result = np.zeros(len(batch), dtype=np.float32)
    for group in batch.groups:
        result[group.rows] = score(group)
    return result


@dataclass(frozen=True)
class Level:
    """Nodes folded together: ``nodes`` are numbers in the forest; ``children`` reach them through ``targets``.

    ``targets[i]`` is the position within ``nodes`` of the parent of ``children[i]``.
    """

    nodes: RowArray
    children: RowArray
    targets: RowArray


@dataclass(frozen=True)
class Forest:
    """Trees of any topologies as one list of nodes; ``roots[row]`` is the root of the tree at that row."""

    nodes: FloatArray
    programs: FloatArray
    levels: tuple[Level, ...]
    roots: RowArray


def levels_of(batch: TreeBatch) -> Forest:
    """Lay a batch out level by level, leaves first.

    A node's level is one more than the highest of its children, so each level needs only those before it.
    """
    features, heights, parents, roots = [], [], [], np.zeros(len(batch), dtype=np.int64)
    start = 0
    for group in batch.groups:
        num_trees, num_nodes = group.nodes.shape[:2]
        firsts = start + num_nodes * np.arange(num_trees)
        roots[group.rows] = firsts
        above = np.array(group.parents)
        features.append(group.nodes.reshape(-1, group.nodes.shape[2]))
        heights.append(np.tile(_heights(group.parents), num_trees))
        parents.append(np.where(above < 0, -1, firsts[:, None] + above).reshape(-1))
        start += num_trees * num_nodes
    height, parent = np.concatenate(heights), np.concatenate(parents)
    levels = tuple(_level(height, parent, number) for number in range(int(height.max()) + 1))
    return Forest(np.concatenate(features), batch.programs, levels, roots)


def _heights(parents: tuple[int, ...]) -> NDArray[np.int64]:
    heights = np.zeros(len(parents), dtype=np.int64)
    for node in range(len(parents) - 1, 0, -1):
        heights[parents[node]] = max(heights[parents[node]], heights[node] + 1)
    return heights


def _level(height: RowArray, parent: RowArray, number: int) -> Level:
    nodes = np.flatnonzero(height == number)
    position = np.full(len(height), -1, dtype=np.int64)
    position[nodes] = np.arange(len(nodes))
    has_parent = parent >= 0
    children = np.flatnonzero(has_parent & (position[np.where(has_parent, parent, 0)] >= 0))
    return Level(nodes, children, position[parent[children]])
