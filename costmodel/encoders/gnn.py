"""A graph network over the loop tree and the buffers that its statements hand on.

The relational graph convolution of Schlichtkrull et al. (2018), with a matrix per kind of edge and
direction. Messages are one product and one ``index_add`` per kind: what PyTorch Geometric's ``RGCNConv``
computes (compared in the tests where that is installed), which would bring an HTTP client and a dozen other
packages along, and save none of these lines.
"""

# ruff: noqa: F722 - shapes in annotations are jaxtyping's
from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from costmodel.encoders.sizes import check_sizes
from costmodel.network import ForestTensors


@dataclass(frozen=True, kw_only=True)
class GNNConfig:
    """``num_rounds``: how many edges a message can travel."""

    name: ClassVar[str] = "gnn"
    hidden: int = 48
    num_rounds: int = 4
    readout: int = 64

    def __post_init__(self) -> None:
        check_sizes(self.readout, hidden=self.hidden, num_rounds=self.num_rounds)

    def build(self, num_features: int) -> GNN:
        return GNN(self.hidden, self.num_rounds, num_features)


class GNN(nn.Module):
    """Rounds of messages from parents, from children, from writers and from users of a buffer.

    The result is the sum over the nodes of each tree beside the state of its root.
    """

    def __init__(self, hidden: int, num_rounds: int, num_features: int) -> None:
        super().__init__()
        self.width = 2 * hidden
        self.embedding = nn.Linear(num_features, hidden)
        self.rounds = nn.ModuleList(MessageRound(hidden) for _ in range(num_rounds))

    def forward(self, forest: ForestTensors) -> Float[Tensor, "tree width"]:
        """Equals encoding each tree alone: no edge leads from one to another."""
        states = torch.relu(self.embedding(forest.nodes))
        kinds = (forest.edges, forest.edges.flip(0), forest.flows, forest.flows.flip(0))
        senders = [neighbours(pairs, len(states)) for pairs in kinds]
        for round_ in self.rounds:
            states = round_(states, senders)
        return torch.cat([forest.sums(states), states[-forest.num_trees :]], dim=1)


@dataclass(frozen=True)
class Neighbours:
    """Who sends to whom along edges of one kind; ``share``: 1 / number of senders of each receiver."""

    senders: Int[Tensor, " edge"]
    receivers: Int[Tensor, " edge"]
    share: Float[Tensor, "edge 1"]


class MessageRound(nn.Module):
    """Adds to every node's state what its neighbours send, the mean over those of one kind."""

    NUM_KINDS = 4

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(hidden)
        self.own = nn.Linear(hidden, hidden)
        self.sent = nn.Linear(hidden, self.NUM_KINDS * hidden, bias=False)

    def forward(
        self, states: Float[Tensor, "node hidden"], kinds: list[Neighbours]
    ) -> Float[Tensor, "node hidden"]:
        """``kinds`` in the order of the matrices."""
        normed = self.norm(states)
        received = self.own(normed)
        for kind, messages in zip(kinds, self.sent(normed).chunk(self.NUM_KINDS, dim=1)):
            # Not by an index: threads would add the gradients of a sender in any order.
            shares = messages.index_select(0, kind.senders) * kind.share.to(messages.dtype)
            received = received.index_add(0, kind.receivers, shares)
        return states + torch.relu(received)


def neighbours(pairs: Int[Tensor, "2 edge"], num_nodes: int) -> Neighbours:
    """Those along edges of one kind, given as senders and receivers."""
    senders, receivers = pairs
    counts = torch.bincount(receivers, minlength=num_nodes).clamp(min=1)
    return Neighbours(senders, receivers, (1 / counts)[receivers, None])
