"""The tree network on a space whose points are loop trees: an ensemble that learns on from the trials."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from costmodel.batching import TreeBatch
from costmodel.dataset import FeatureDataset, TaskFeatures
from costmodel.encoders.treegru import TreeGRUConfig
from costmodel.knobs.boosted import LEAST_DEVIATION
from costmodel.network import Ranker, score_in_blocks
from costmodel.train import RefitConfig, TrainConfig, seed_of, train

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class TreeNetworkConfig:
    """``num_members`` networks, which learn from other devices by ``pretraining``, from trials by ``refit``.

    ``num_source_records`` of a source are drawn at random for pretraining, or all if there are fewer.
    """

    num_members: int = 3
    network: TreeGRUConfig = field(default_factory=lambda: TreeGRUConfig(hidden=32, readout=32))
    refit: RefitConfig = field(default_factory=lambda: RefitConfig(num_steps=80, learning_rate=4e-3))
    pretraining: TrainConfig = field(default_factory=lambda: TrainConfig(num_epochs=10))
    num_source_records: int = 2_048

    def __post_init__(self) -> None:
        if self.num_members < 1 or self.num_source_records < 2:
            raise ValueError(
                f"num_members must be at least 1 and num_source_records 2, got {self.num_members} and "
                f"{self.num_source_records}"
            )


class TreeNetwork:
    """A ``Surrogate`` over points that are trees; ``sources`` are what other devices measured of such trees.

    Targets are learnt as if they were logarithms of times, so the networks and their loss are those of the
    cost models. Points with equal trees are one kernel: a trial of one tells all about the others.
    """

    def __init__(
        self,
        trees: TreeBatch,
        config: TreeNetworkConfig,
        rng: np.random.Generator,
        sources: Sequence[TaskFeatures] = (),
    ) -> None:
        self._trees, self._config, self._rng = trees, config, rng
        self._first = first_of_equal(trees)
        self._is_tried = np.zeros(len(trees), dtype=bool)
        self._members = [self._fresh() for _ in range(config.num_members)]
        self._offsets = np.zeros(config.num_members)
        for member in self._members:
            learnt = FeatureDataset(tuple(self._drawn(source) for source in sources))
            member.measure_inputs([task.trees for task in learnt.tasks] or [trees])
            if sources:
                train(member, learnt, config.pretraining, rng, None)

    def fit(self, rows: IntArray, targets: Array) -> None:
        """Goes on from the weights it has."""
        self._is_tried[self._first[rows]] = True
        told = self._trees.take(rows)
        task = TaskFeatures("trials", told, np.exp(targets), np.zeros((0, 2)))
        for number, member in enumerate(self._members):
            train(member, FeatureDataset((task,)), self._config.refit.training([len(rows)]), self._rng, None)
            # The loss leaves a constant open.
            self._offsets[number] = float(np.mean(targets + score_in_blocks(member, told)))

    def predict(self) -> tuple[Array, Array]:
        """The mean is infinite where a trial would measure a kernel again: nothing is hoped for there."""
        kernels = np.flatnonzero((self._first == np.arange(len(self._first))) & ~self._is_tried)
        mean, deviation = np.full(len(self._first), np.inf), np.full(len(self._first), LEAST_DEVIATION)
        if len(kernels):
            asked = self._trees.take(kernels)
            scores = np.stack([score_in_blocks(member, asked) for member in self._members])
            found = self._offsets[:, None] - scores
            mean[kernels] = found.mean(axis=0)
            deviation[kernels] = np.maximum(found.std(axis=0), LEAST_DEVIATION)
        return mean, deviation

    def _fresh(self) -> Ranker:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_of(self._rng))
            return Ranker(self._config.network)

    def _drawn(self, source: TaskFeatures) -> TaskFeatures:
        order = self._rng.permutation(len(source))[: self._config.num_source_records]
        return source.take(np.sort(order))


def first_of_equal(trees: TreeBatch) -> IntArray:
    """For each tree the row of the first one that has the same features, shape (N,)."""
    first = np.arange(len(trees))
    for group in trees.groups:
        rows = np.concatenate([group.nodes.reshape(len(group), -1), group.programs], axis=1)
        keys = np.ascontiguousarray(rows).view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1])))[:, 0]
        _, places, kernels = np.unique(keys, return_index=True, return_inverse=True)
        first[group.rows] = group.rows[places[kernels]]
    return first
