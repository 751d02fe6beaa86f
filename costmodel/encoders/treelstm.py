"""The child-sum tree LSTM of Tai et al. (2015), section 3.1, over the loop tree."""

# ruff: noqa: F722 - shapes in annotations are jaxtyping's
from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from costmodel.encoders.sizes import check_sizes
from costmodel.network import ForestTensors


@dataclass(frozen=True, kw_only=True)
class TreeLSTMConfig:
    """Sizes of the network."""

    name: ClassVar[str] = "treelstm"
    hidden: int = 48
    readout: int = 64

    def __post_init__(self) -> None:
        check_sizes(self.readout, hidden=self.hidden)

    def build(self, num_features: int) -> TreeLSTM:
        return TreeLSTM(self.hidden, num_features)


class TreeLSTM(nn.Module):
    """Folds every tree from the leaves to the root; each child has a forget gate of its own."""

    def __init__(self, hidden: int, num_features: int) -> None:
        super().__init__()
        self.width = hidden
        self.input = nn.Linear(num_features, 4 * hidden)
        self.recurrent = nn.Linear(hidden, 3 * hidden, bias=False)
        self.forget = nn.Linear(hidden, hidden, bias=False)

    def forward(self, forest: ForestTensors) -> Float[Tensor, "tree hidden"]:
        """The state of every root; equals encoding each tree alone."""
        deepest, *above = forest.levels(self.input(forest.nodes))
        no_child = deepest.new_zeros(len(deepest), self.width)
        states, cells = self._gated(deepest, no_child, no_child)
        for level, parents in zip(above, reversed(forest.parents)):
            # Not by an index: threads would add the gradients of a parent's children in any order.
            own = level[:, 3 * self.width :].index_select(0, parents)
            forget = torch.sigmoid(own + self.forget(states))
            none = level.new_zeros(len(level), self.width)
            kept = none.index_add(0, parents, forget * cells)
            states, cells = self._gated(level, none.index_add(0, parents, states), kept)
        return states

    def _gated(self, projected: Tensor, sums: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
        """States and cells of nodes, given the sum of their children's states and what is kept of cells."""
        gates = projected[:, : 3 * self.width] + self.recurrent(sums)
        take, give, candidate = gates.chunk(3, dim=1)
        cells = torch.sigmoid(take) * torch.tanh(candidate) + kept
        return torch.sigmoid(give) * torch.tanh(cells), cells
