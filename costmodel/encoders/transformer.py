"""A transformer over the pre-order walk of the loop tree, with the positions of its nodes in the tree."""

# ruff: noqa: F722 - shapes in annotations are jaxtyping's
from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from costmodel.encoders.sizes import check_sizes
from costmodel.network import ForestTensors

LONGEST_WAVE = 100.0
"""Positions are waves up to this length: no loop tree has more nodes."""


@dataclass(frozen=True, kw_only=True)
class TransformerConfig:
    """Sizes of the network; ``num_heads`` divides ``hidden``, which is a multiple of 4."""

    name: ClassVar[str] = "transformer"
    hidden: int = 48
    num_heads: int = 4
    num_layers: int = 2
    readout: int = 64

    def __post_init__(self) -> None:
        check_sizes(self.readout, hidden=self.hidden, num_heads=self.num_heads, num_layers=self.num_layers)
        if self.hidden % 4 or self.hidden % self.num_heads:
            raise ValueError(f"hidden must be a multiple of 4 and of num_heads, got {self.hidden}")

    def build(self, num_features: int) -> Transformer:
        return Transformer(self, num_features)


class Transformer(nn.Module):
    """Every node attends to all nodes of its tree (Vaswani et al. 2017, normalised before each layer).

    A node's position is its place in the walk, its depth, and the place of its parent. The result is the
    mean over the nodes of each tree beside the state of its root.
    """

    def __init__(self, config: TransformerConfig, num_features: int) -> None:
        super().__init__()
        self.width = 2 * config.hidden
        self.embedding = nn.Linear(num_features, config.hidden)
        self.position = nn.Linear(3 * config.hidden, config.hidden, bias=False)
        self.layers = nn.ModuleList(Layer(config.hidden, config.num_heads) for _ in range(config.num_layers))
        self.norm = nn.LayerNorm(config.hidden)

    def forward(self, forest: ForestTensors) -> Float[Tensor, "tree width"]:
        """Equals encoding each tree alone: padding is never attended to."""
        places = forest.places
        positions = torch.stack([places, forest.depths, forest.parent_places])
        waves = self.position(_waves(positions, self.embedding.out_features))
        embedded = self.embedding(forest.nodes) + waves
        length = int(places.max()) + 1
        cells = forest.trees * length + places
        walks = embedded.new_zeros(forest.num_trees * length, embedded.shape[1])
        walks = walks.index_copy(0, cells, embedded).reshape(forest.num_trees, length, -1)
        is_node = torch.zeros(forest.num_trees * length, dtype=torch.bool)
        is_node[cells] = True
        is_node = is_node.reshape(forest.num_trees, length)
        for layer in self.layers:
            walks = layer(walks, is_node)
        walks = self.norm(walks) * is_node[:, :, None]
        return torch.cat([walks.sum(dim=1) / is_node.sum(dim=1, keepdim=True), walks[:, 0]], dim=1)


class Layer(nn.Module):
    """Attention and a perceptron, each added to what it was given."""

    def __init__(self, hidden: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.before = nn.ModuleList(nn.LayerNorm(hidden) for _ in range(2))
        self.attention = nn.Linear(hidden, 3 * hidden)
        self.attended = nn.Linear(hidden, hidden)
        self.perceptron = nn.Sequential(
            nn.Linear(hidden, 2 * hidden), nn.GELU(), nn.Linear(2 * hidden, hidden)
        )

    def forward(
        self, walks: Float[Tensor, "tree place hidden"], is_node: Bool[Tensor, "tree place"]
    ) -> Float[Tensor, "tree place hidden"]:
        trees, length, hidden = walks.shape
        parts = self.attention(self.before[0](walks)).reshape(trees, length, 3, self.num_heads, -1)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        mask = is_node[:, None, None, :]
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        walks = walks + self.attended(mixed.transpose(1, 2).reshape(trees, length, hidden))
        result: Tensor = walks + self.perceptron(self.before[1](walks))
        return result


def _waves(positions: Int[Tensor, "kind node"], width: int) -> Float[Tensor, "node all_waves"]:
    """Sines and cosines of geometrically growing length, ``width`` of them for every kind of position."""
    lengths = torch.exp(torch.linspace(0, math.log(LONGEST_WAVE), width // 2))
    angles = positions[:, :, None] / lengths
    return torch.cat([angles.sin(), angles.cos()], dim=2).permute(1, 0, 2).reshape(positions.shape[1], -1)
