"""The default encoder: a child-sum tree GRU over the loop tree (arXiv:1805.08166, section 3.2)."""

# ruff: noqa: F722 - shapes in annotations are jaxtyping's
from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from costmodel.encoders.treegru_native import Weights, compile_sketch
from costmodel.encoders.treegru_text import ROWS
from costmodel.features.featurise import SketchFeatures
from costmodel.native import NativeSketch
from costmodel.network import ForestTensors, Ranker


@dataclass(frozen=True, kw_only=True)
class TreeGRUConfig:
    """Sizes of the network."""

    name: ClassVar[str] = "treegru"
    hidden: int = 48
    readout: int = 64

    def __post_init__(self) -> None:
        for size in (self.hidden, self.readout):
            if size < ROWS or size % ROWS:
                raise ValueError(f"hidden and readout must be multiples of {ROWS}, got {size}")

    def build(self, num_features: int) -> TreeGRU:
        return TreeGRU(self.hidden, num_features)

    def compile(self, network: Ranker, features: SketchFeatures) -> NativeSketch:
        return compile_sketch(weights_of(network), features)


class TreeGRU(nn.Module):
    """Folds every tree from the leaves to the root, whose state is the result.

    The state of a node is a gated update of the sum of its children's states, as the child-sum LSTM of
    Tai et al. (2015) sums them. The reset gate acts after the recurrent product, so that one product
    serves all gates.
    """

    def __init__(self, hidden: int, num_features: int) -> None:
        super().__init__()
        self.width = hidden
        self.input = nn.Linear(num_features, 3 * hidden)
        self.recurrent = nn.Linear(hidden, 3 * hidden, bias=False)

    def forward(self, forest: ForestTensors) -> Float[Tensor, "tree hidden"]:
        """The state of every root; equals encoding each tree alone."""
        return self.states(forest)[-1]

    def states(self, forest: ForestTensors) -> list[Float[Tensor, "level hidden"]]:
        """The states of the nodes of each level, the deepest first."""
        deepest, *above = forest.levels(self.input(forest.nodes))
        states = [self._leaves(deepest)]
        for level, parents in zip(above, reversed(forest.parents)):
            sums = level.new_zeros(len(level), self.width).index_add(0, parents, states[-1])
            states.append(self._step(level, sums))
        return states

    def _leaves(self, projected: Tensor) -> Tensor:
        update, _, candidate = projected.chunk(3, dim=1)
        return torch.sigmoid(-update) * torch.tanh(candidate)

    def _step(self, projected: Tensor, sums: Tensor) -> Tensor:
        hidden = sums.shape[1]
        recurrent = self.recurrent(sums)
        update, reset = torch.sigmoid(projected[:, : 2 * hidden] + recurrent[:, : 2 * hidden]).chunk(2, dim=1)
        candidate = torch.tanh(projected[:, 2 * hidden :] + reset * recurrent[:, 2 * hidden :])
        return candidate + update * (sums - candidate)


def weights_of(network: Ranker) -> Weights:
    """The parameters as the native scorer takes them, with the input scaling folded in."""
    hidden = network.encoder.width
    parts = {name: tensor.double().numpy() for name, tensor in network.state_dict().items()}
    matrix = parts["encoder.input.weight"] * parts["node_scaling.scale"]
    readout = parts["readout.weight"].copy()
    readout[:, hidden:] *= parts["program_scaling.scale"]
    arrays = {
        "input": matrix,
        "input_bias": parts["encoder.input.bias"] - matrix @ parts["node_scaling.mean"],
        "recurrent": parts["encoder.recurrent.weight"],
        "readout": readout,
        "readout_bias": parts["readout.bias"] - readout[:, hidden:] @ parts["program_scaling.mean"],
        "score": np.concatenate([parts["score.bias"], parts["score.weight"][0]]),
    }
    return Weights(
        **{name: array.astype(np.float32) for name, array in arrays.items()},
        node_bounds=network.node_scaling.bounds(),
        program_bounds=network.program_scaling.bounds(),
    )
