"""Batches of loop trees.

Trees of one topology are stacked into a ``TreeGroup``: one array, one list of parents. A ``TreeBatch``
holds the groups of N programs in any order. ``forest_of`` lays trees of mixed topology out as one forest
whose levels are folded together, with results equal to folding tree by tree.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
RowArray = NDArray[np.int64]
Topology: TypeAlias = tuple[tuple[int, ...], tuple[tuple[int, int], ...]]


@dataclass(frozen=True)
class TreeGroup:
    """Trees of one topology.

    ``parents``: per node in pre-order, -1 for the root. ``nodes``: (num_trees, num_nodes, num_features).
    ``programs``: (num_trees, num_program_features). ``rows``: where the trees stand in the batch.
    ``flows``: pairs of leaves, the first of which writes what the second uses.
    """

    parents: tuple[int, ...]
    nodes: FloatArray
    programs: FloatArray
    rows: RowArray
    flows: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        if self.nodes.shape[:2] != (len(self.rows), len(self.parents)):
            raise ValueError(
                f"nodes of shape {self.nodes.shape} do not hold {len(self.rows)} trees "
                f"of {len(self.parents)} nodes"
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
        home, place = self._homes
        groups = []
        for number, group in enumerate(self.groups):
            mine = np.flatnonzero(home[rows] == number)
            if len(mine):
                taken = place[rows[mine]]
                nodes, programs = group.nodes[taken], group.programs[taken]
                groups.append(TreeGroup(group.parents, nodes, programs, mine, group.flows))
        return TreeBatch(tuple(groups))

    @cached_property
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
    parts: dict[Topology, list[tuple[TreeGroup, RowArray]]] = {}
    start = 0
    for batch in batches:
        for group in batch.groups:
            parts.setdefault((group.parents, group.flows), []).append((group, group.rows + start))
        start += len(batch)
    return TreeBatch(
        tuple(
            TreeGroup(
                parents,
                np.concatenate([group.nodes for group, _ in same]),
                np.concatenate([group.programs for group, _ in same]),
                np.concatenate([rows for _, rows in same]),
                flows,
            )
            for (parents, flows), same in parts.items()
        )
    )


@dataclass(frozen=True)
class Forest:
    """Trees of any topologies as one list of nodes, deepest level first, for folding level by level.

    Level d holds the nodes at depth d, ``sizes[d]`` of them. ``nodes``, (all nodes, num_features), starts
    with the last level and ends with level 0, the roots. ``parents[d]`` has the position within level d
    of the parent of every node of level d + 1. ``rows``: the batch row of each root; ``programs`` are in
    the roots' order too, group after group. What folds level by level do not need is made when asked for.
    """

    nodes: FloatArray
    programs: FloatArray
    rows: RowArray
    sizes: tuple[int, ...]
    parents: tuple[RowArray, ...]
    groups: tuple[TreeGroup, ...]

    @cached_property
    def trees(self) -> RowArray:
        """Per node the number of its tree, in the order of the roots."""
        return self._per_node(lambda group, first: first + np.arange(len(group))[:, None])

    @cached_property
    def places(self) -> RowArray:
        """Per node its place in the pre-order of its tree, 0 for roots."""
        return self._per_node(lambda group, first: np.arange(len(group.parents))[None, :])

    @cached_property
    def parent_places(self) -> RowArray:
        """Per node the place of its parent, 0 for roots."""
        return self._per_node(lambda group, first: np.maximum(group.parents, 0)[None, :])

    @cached_property
    def leaves(self) -> RowArray:
        """Positions of the nodes without children, ascending."""
        is_leaf = np.ones(len(self.nodes), dtype=bool)
        is_leaf[self.edges[0]] = False
        return np.flatnonzero(is_leaf)

    @cached_property
    def depths(self) -> RowArray:
        """Per node the number of nodes above it."""
        return np.repeat(np.arange(len(self.sizes)), self.sizes)[::-1].copy()

    @cached_property
    def edges(self) -> RowArray:
        """Parent and child of every edge as positions in ``nodes``, shape (2, edges)."""
        pairs = [
            np.stack([rows[:, group.parents[1:]].reshape(-1), rows[:, 1:].reshape(-1)])
            for group, rows in zip(self.groups, self._positions)
        ]
        return np.concatenate(pairs, axis=1)

    @cached_property
    def flows(self) -> RowArray:
        """Writer and user of what is written, as positions in ``nodes``, shape (2, flows)."""
        pairs = [
            rows[:, np.array(group.flows, dtype=np.int64).reshape(-1, 2)].reshape(-1, 2).T
            for group, rows in zip(self.groups, self._positions)
        ]
        return np.ascontiguousarray(np.concatenate(pairs, axis=1))

    @cached_property
    def _positions(self) -> list[RowArray]:
        """Per group the positions of its trees' nodes in ``nodes``, shape (trees, nodes)."""
        starts = (sum(self.sizes) - np.cumsum(self.sizes)).tolist()
        result = []
        for group in self.groups:
            positions = np.empty((len(group), len(group.parents)), dtype=np.int64)
            for depth, (nodes, _) in enumerate(levels(group.parents)):
                count = len(group) * len(nodes)
                positions[:, nodes] = starts[depth] + np.arange(count).reshape(len(group), -1)
                starts[depth] += count
            result.append(positions)
        return result

    def _per_node(self, values: Callable[[TreeGroup, int], RowArray]) -> RowArray:
        result = np.empty(len(self.nodes), dtype=np.int64)
        first = 0
        for group, positions in zip(self.groups, self._positions):
            result[positions] = values(group, first)
            first += len(group)
        return result


def forest_of(batch: TreeBatch) -> Forest:
    """Lay out a batch of at least one tree.

    Since a level is a depth, all children of a level stand in the next one, whatever the topologies:
    a fold needs no look-up but one indexed sum per level.
    """
    features: list[list[FloatArray]] = []
    parents: list[list[RowArray]] = []
    sizes: list[int] = []
    for group in batch.groups:
        start, width = 0, 0
        for depth, (nodes, above) in enumerate(levels(group.parents)):
            if depth == len(sizes):
                features.append([])
                parents.append([])
                sizes.append(0)
            firsts = start + width * np.arange(len(group))[:, None]
            parents[depth].append((firsts + above).reshape(-1))
            features[depth].append(group.nodes[:, nodes].reshape(-1, group.nodes.shape[2]))
            start, width = sizes[depth], len(nodes)
            sizes[depth] += len(group) * width
    return Forest(
        nodes=np.concatenate([part for level in reversed(features) for part in level]),
        programs=np.concatenate([group.programs for group in batch.groups]),
        rows=np.concatenate([group.rows for group in batch.groups]),
        sizes=tuple(sizes),
        parents=tuple(np.concatenate(level) for level in parents[1:]),
        groups=batch.groups,
    )


def levels(parents: tuple[int, ...]) -> list[tuple[RowArray, RowArray]]:
    """Per depth: the nodes there, and where in the level above each one's parent stands (0 for roots)."""
    depths: list[int] = []
    positions: list[int] = []
    result: list[tuple[list[int], list[int]]] = []
    for node, parent in enumerate(parents):
        depth = depths[parent] + 1 if parent >= 0 else 0
        if depth == len(result):
            result.append(([], []))
        depths.append(depth)
        positions.append(len(result[depth][0]))
        result[depth][0].append(node)
        result[depth][1].append(positions[parent] if parent >= 0 else 0)
    return [(np.array(nodes, dtype=np.int64), np.array(above, dtype=np.int64)) for nodes, above in result]
