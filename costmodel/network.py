"""What all networks share: tensors of a forest, input scaling, reading a score off, scoring in blocks."""

# ruff: noqa: F722 - shapes in annotations are jaxtyping's
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor, nn

from costmodel.batching import Forest, TreeBatch, forest_of
from costmodel.features.columns import NODE_COLUMNS, PROGRAM_COLUMNS

BLOCK = 512
"""Trees scored at once: their states stay in the L2 cache."""


@dataclass(frozen=True)
class ForestTensors:
    """A ``Forest`` as torch tensors that share its memory; ``layout`` is the forest itself."""

    nodes: Float[Tensor, "node node_feature"]
    programs: Float[Tensor, "tree program_feature"]
    sizes: tuple[int, ...]
    parents: tuple[Tensor, ...]
    layout: Forest

    @property
    def num_trees(self) -> int:
        """Roots, which are the last nodes."""
        return self.sizes[0]

    @property
    def trees(self) -> Int[Tensor, " node"]:
        """The number of each node's tree."""
        return torch.from_numpy(self.layout.trees)

    @property
    def edges(self) -> Int[Tensor, "2 edge"]:
        """Parents and children as positions among the nodes."""
        return torch.from_numpy(self.layout.edges)

    @property
    def flows(self) -> Int[Tensor, "2 flow"]:
        """Writers and users of buffers as positions among the nodes."""
        return torch.from_numpy(self.layout.flows)

    @property
    def leaves(self) -> Int[Tensor, " leaf"]:
        """Positions of the nodes without children, the statements."""
        return torch.from_numpy(self.layout.leaves)

    @property
    def places(self) -> Int[Tensor, " node"]:
        """The place of each node in the pre-order of its tree."""
        return torch.from_numpy(self.layout.places)

    @property
    def parent_places(self) -> Int[Tensor, " node"]:
        """The place of each node's parent; 0 for roots."""
        return torch.from_numpy(self.layout.parent_places)

    @property
    def depths(self) -> Int[Tensor, " node"]:
        """The number of nodes above each node."""
        return torch.from_numpy(self.layout.depths)

    def with_nodes(self, nodes: Float[Tensor, "node width"]) -> ForestTensors:
        """The same trees with other features."""
        return replace(self, nodes=nodes)

    def sums(self, values: Float[Tensor, "node width"]) -> Float[Tensor, "tree width"]:
        """The sum over the nodes of each tree."""
        return values.new_zeros(self.num_trees, values.shape[1]).index_add(0, self.trees, values)

    def levels(self, values: Float[Tensor, "node width"]) -> list[Float[Tensor, "level width"]]:
        """The nodes of each level, the deepest first."""
        return list(torch.split(values, list(reversed(self.sizes))))


class EncoderConfig(Protocol):
    """The sizes of an encoder, a frozen dataclass of whole numbers: all that a checkpoint must say of it."""

    name: ClassVar[str]
    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def readout(self) -> int:
        """Width of the layer between what the encoder gives and the score; 0 for none."""

    def build(self, num_features: int) -> Encoder:
        """Fresh weights, for nodes of so many features."""


class Encoder(Protocol):
    """A module that makes a vector of ``width`` numbers of every tree, in the order of the roots.

    The nodes of the forest it is given are scaled already.
    """

    width: int

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

    def measure(self, parts: Sequence[NDArray[np.float32]]) -> None:
        """Take the statistics of features, each part of shape (some, num_features)."""
        num = max(sum(len(part) for part in parts), 1)
        zero = np.zeros(len(self.mean))
        mean = sum((part.sum(axis=0, dtype=np.float64) for part in parts), zero) / num
        squares = sum((np.square(part, dtype=np.float64).sum(axis=0) for part in parts), zero) / num
        deviation = np.sqrt(np.maximum(squares - mean**2, 0))
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


@dataclass(frozen=True)
class Dropout:
    """Leaves out a share of the units that the score is read off (Srivastava et al. 2014).

    ``generator`` is the only source of chance, so that a training repeats.
    """

    share: float
    generator: torch.Generator

    def __call__(self, units: Float[Tensor, "tree unit"]) -> Float[Tensor, "tree unit"]:
        is_kept = torch.rand(units.shape, generator=self.generator) >= self.share
        return units * is_kept / (1 - self.share)


class Ranker(nn.Module):
    """Scales what an encoder is given, and reads a score off what it gives and the program's features."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.node_scaling = InputScaling(len(NODE_COLUMNS))
        self.program_scaling = InputScaling(len(PROGRAM_COLUMNS))
        self.encoder: Any = config.build(len(NODE_COLUMNS))
        width = self.encoder.width + len(PROGRAM_COLUMNS)
        self.readout = nn.Linear(width, config.readout) if config.readout else nn.Identity()
        self.score = nn.Linear(config.readout or width, 1)

    def measure_inputs(self, batches: Sequence[TreeBatch]) -> None:
        """Set the input scaling from the trees of a training set."""
        groups = [group for batch in batches for group in batch.groups]
        self.node_scaling.measure([group.nodes.reshape(-1, len(NODE_COLUMNS)) for group in groups])
        self.program_scaling.measure([group.programs for group in groups])

    def forward(self, forest: ForestTensors, dropout: Dropout | None = None) -> Float[Tensor, " tree"]:
        encoded = self.encode(forest)
        read: Tensor = self.readout(torch.cat([encoded, self.program_scaling(forest.programs)], dim=1))
        if isinstance(self.readout, nn.Linear):
            read = torch.relu(read)
        if dropout is not None:
            read = dropout(read)
        result: Tensor = self.score(read)
        return result[:, 0]

    def encode(self, forest: ForestTensors) -> Float[Tensor, "tree width"]:
        """The encoder's vectors of trees whose features are not scaled yet."""
        result: Tensor = self.encoder(forest.with_nodes(self.node_scaling(forest.nodes)))
        return result


def tensors_of(forest: Forest) -> ForestTensors:
    """No copy is made."""
    return ForestTensors(
        torch.from_numpy(forest.nodes),
        torch.from_numpy(forest.programs),
        forest.sizes,
        tuple(torch.from_numpy(parents) for parents in forest.parents),
        forest,
    )


def score_in_blocks(network: nn.Module, batch: TreeBatch) -> NDArray[np.float32]:
    """Scores in batch order, shape (N,)."""
    result = np.zeros(len(batch), dtype=np.float32)
    with torch.inference_mode():
        for start in range(0, len(batch), BLOCK):
            rows = np.arange(start, min(start + BLOCK, len(batch)))
            forest = forest_of(batch.take(rows))
            result[rows[forest.rows]] = network(tensors_of(forest)).numpy()
    return result
