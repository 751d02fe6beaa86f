"""What all neural models share: tensors of a forest, input scaling, scoring in blocks."""

# ruff: noqa: F722 - shapes in annotations are jaxtyping's
from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn

from costmodel.batching import Forest, TreeBatch, forest_of

BLOCK = 512
"""Trees scored at once: their states stay in the L2 cache."""


@dataclass(frozen=True)
class ForestTensors:
    """A ``Forest`` as torch tensors that share its memory."""

    nodes: Float[Tensor, "node node_feature"]
    programs: Float[Tensor, "tree program_feature"]
    sizes: tuple[int, ...]
    parents: tuple[Tensor, ...]


class Network(Protocol):
    """A module from a forest to one score per tree, shape (trees,), in the order of the roots."""

    def __call__(self, forest: ForestTensors) -> Tensor: ...


MAX_DEVIATIONS = 3.0
"""How far from the mean of the training set a feature counts: what lies farther was hardly seen, and a
network continues there at will."""


class InputScaling(nn.Module):
    """Moves every feature to mean 0 and standard deviation 1 over the training set; clips what is far off.

    A feature that never varied there is ignored: what another machine's value of it means was never seen.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(num_features))
        self.register_buffer("scale", torch.zeros(num_features))

    def measure(self, rows: NDArray[np.float32]) -> None:
        """Take the statistics of features, shape (N, num_features)."""
        mean = rows.mean(axis=0, dtype=np.float64)
        deviation = np.sqrt(np.maximum(np.square(rows, dtype=np.float64).mean(axis=0) - mean**2, 0))
        varies = deviation > 1e-4
        self.mean.copy_(torch.from_numpy(mean))
        self.scale.copy_(torch.from_numpy(np.where(varies, 1 / np.where(varies, deviation, 1), 0)))

    def forward(self, rows: Float[Tensor, "*row feature"]) -> Float[Tensor, "*row feature"]:
        return ((rows - self.mean) * self.scale).clamp(-MAX_DEVIATIONS, MAX_DEVIATIONS)

    def bounds(self) -> NDArray[np.float32]:
        """Least and greatest value of each feature that is not clipped, shape (2, num_features)."""
        mean, scale = self.mean.double().numpy(), self.scale.double().numpy()
        with np.errstate(divide="ignore"):
            reach = MAX_DEVIATIONS / scale
        return np.stack([mean - reach, mean + reach]).astype(np.float32)


def tensors_of(forest: Forest) -> ForestTensors:
    """No copy is made."""
    return ForestTensors(
        torch.from_numpy(forest.nodes),
        torch.from_numpy(forest.programs),
        forest.sizes,
        tuple(torch.from_numpy(parents) for parents in forest.parents),
    )


def score_in_blocks(network: Network, batch: TreeBatch) -> NDArray[np.float32]:
    """Scores in batch order, shape (N,)."""
    result = np.zeros(len(batch), dtype=np.float32)
    with torch.inference_mode():
        for start in range(0, len(batch), BLOCK):
            rows = np.arange(start, min(start + BLOCK, len(batch)))
            forest = forest_of(batch.take(rows))
            result[rows[forest.rows]] = network(tensors_of(forest)).numpy()
    return result
