"""The context-encoded tree GRU of AutoTVM (arXiv:1805.08166, section 4)."""

# ruff: noqa: F722 - shapes in annotations are jaxtyping's
from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from costmodel.encoders.sizes import check_sizes
from costmodel.encoders.treegru import TreeGRU
from costmodel.network import ForestTensors


@dataclass(frozen=True, kw_only=True)
class ContextTreeGRUConfig:
    """``num_slots`` is the paper's m, the vectors that loop levels are scattered into."""

    name: ClassVar[str] = "context_treegru"
    embedding: int = 32
    hidden: int = 32
    num_slots: int = 8
    readout: int = 0

    def __post_init__(self) -> None:
        check_sizes(self.readout, embedding=self.embedding, hidden=self.hidden, num_slots=self.num_slots)

    def build(self, num_features: int) -> ContextTreeGRU:
        return ContextTreeGRU(self, num_features)


class ContextTreeGRU(nn.Module):
    """Scatters the state of every loop level softly into m slots, which are summed over the levels.

    The paper embeds each level's context features, lets a tree GRU make a vector h of each level, adds
    softmax(W h)_i h to slot i, so that levels of one kind meet in one slot whatever the depth of the
    nest, and reads the cost off all slots by a linear layer. Ours differs in what is embedded (the
    columns of ``costmodel.features``, for statements as well as for loops) and in that the linear layer
    also sees the program's own features.
    """

    def __init__(self, config: ContextTreeGRUConfig, num_features: int) -> None:
        super().__init__()
        self.width = config.num_slots * config.hidden
        self.embedding = nn.Linear(num_features, config.embedding)
        self.tree = TreeGRU(config.hidden, config.embedding)
        self.slots = nn.Linear(config.hidden, config.num_slots, bias=False)

    def forward(self, forest: ForestTensors) -> Float[Tensor, "tree width"]:
        """All slots of every tree."""
        embedded = torch.relu(self.embedding(forest.nodes))
        states = torch.cat(self.tree.states(forest.with_nodes(embedded)))
        shares = torch.softmax(self.slots(states), dim=1)
        scattered = shares[:, :, None] * states[:, None, :]
        return forest.sums(scattered.reshape(len(states), self.width))
