"""A multi-layer perceptron over summed statements, as TenSet has it (Zheng et al. 2021, section 5.1)."""

# ruff: noqa: F722 - shapes in annotations are jaxtyping's
from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from costmodel.encoders.sizes import check_sizes
from costmodel.network import ForestTensors


@dataclass(frozen=True, kw_only=True)
class StatementMLPConfig:
    """Sizes of the network."""

    name: ClassVar[str] = "statement_mlp"
    hidden: int = 128
    readout: int = 64

    def __post_init__(self) -> None:
        check_sizes(self.readout, hidden=self.hidden)

    def build(self, num_features: int) -> StatementMLP:
        return StatementMLP(self.hidden, num_features)


class StatementMLP(nn.Module):
    """Embeds every statement by itself and adds the embeddings up.

    Of loops it knows what the statements' own features say of them.
    """

    def __init__(self, hidden: int, num_features: int) -> None:
        super().__init__()
        self.width = hidden
        layers = (nn.Linear(num_features, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU())
        self.embedding = nn.Sequential(*layers)

    def forward(self, forest: ForestTensors) -> Float[Tensor, "tree hidden"]:
        """The sum over the statements of every tree."""
        leaves = forest.leaves
        embedded: Tensor = self.embedding(forest.nodes[leaves])
        none = embedded.new_zeros(forest.num_trees, self.width)
        return none.index_add(0, forest.trees[leaves], embedded)
