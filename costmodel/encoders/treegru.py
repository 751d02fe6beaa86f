"""The default model: a child-sum tree GRU over the loop tree (arXiv:1805.08166, section 3.2)."""

# ruff: noqa: F722 - shapes in annotations are jaxtyping's
from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Self

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn

from costmodel.batching import TreeBatch
from costmodel.dataset import FeatureDataset, TaskFeatures
from costmodel.encoders.treegru_native import SketchScorer, Weights, compile_sketch
from costmodel.encoders.treegru_text import ROWS
from costmodel.features.columns import NODE_COLUMNS, PROGRAM_COLUMNS
from costmodel.features.featurise import SketchFeatures
from costmodel.model import ModelState, Progress, Scores
from costmodel.network import ForestTensors, InputScaling, score_in_blocks
from costmodel.train import RefitConfig, TrainConfig, seed_of, train


@dataclass(frozen=True, kw_only=True)
class TreeGRUConfig:
    """Sizes of the network."""

    hidden: int = 48
    readout: int = 64

    def __post_init__(self) -> None:
        for size in (self.hidden, self.readout):
            if size < ROWS or size % ROWS:
                raise ValueError(f"hidden and readout must be multiples of {ROWS}, got {size}")


class TreeGRU(nn.Module):
    """Folds every tree from the leaves to the root, then reads a score off the root and the program vector.

    The state of a node is a gated update of the sum of its children's states, as the child-sum LSTM of
    Tai et al. (2015) sums them. The reset gate acts after the recurrent product, so that one product
    serves all gates.
    """

    def __init__(self, config: TreeGRUConfig) -> None:
        super().__init__()
        hidden = config.hidden
        self.node_scaling = InputScaling(len(NODE_COLUMNS))
        self.program_scaling = InputScaling(len(PROGRAM_COLUMNS))
        self.input = nn.Linear(len(NODE_COLUMNS), 3 * hidden)
        self.recurrent = nn.Linear(hidden, 3 * hidden, bias=False)
        self.readout = nn.Linear(hidden + len(PROGRAM_COLUMNS), config.readout)
        self.score = nn.Linear(config.readout, 1)

    def measure_inputs(self, batch: TreeBatch) -> None:
        """Set the input scaling from the trees of a training set."""
        nodes = [group.nodes.reshape(-1, len(NODE_COLUMNS)) for group in batch.groups]
        self.node_scaling.measure(np.concatenate(nodes))
        self.program_scaling.measure(batch.programs)

    def forward(self, forest: ForestTensors) -> Float[Tensor, " tree"]:
        roots = self.encode(forest)
        programs = self.program_scaling(forest.programs)
        result: Tensor = self.score(torch.relu(self.readout(torch.cat([roots, programs], dim=1))))
        return result[:, 0]

    def encode(self, forest: ForestTensors) -> Float[Tensor, "tree hidden"]:
        """The state of every root; equals encoding each tree alone."""
        projected = self.input(self.node_scaling(forest.nodes))
        deepest, *above = torch.split(projected, list(reversed(forest.sizes)))
        states = self._leaves(deepest)
        for level, parents in zip(above, reversed(forest.parents)):
            sums = level.new_zeros(len(level), states.shape[1]).index_add(0, parents, states)
            states = self._step(level, sums)
        return states

    def weights(self) -> Weights:
        """The parameters as the native scorer takes them, with the input scaling folded in."""
        hidden = self.recurrent.in_features
        parts = {name: tensor.double().numpy() for name, tensor in self.state_dict().items()}
        matrix = parts["input.weight"] * parts["node_scaling.scale"]
        readout = parts["readout.weight"].copy()
        readout[:, hidden:] *= parts["program_scaling.scale"]
        arrays = {
            "input": matrix,
            "input_bias": parts["input.bias"] - matrix @ parts["node_scaling.mean"],
            "recurrent": parts["recurrent.weight"],
            "readout": readout,
            "readout_bias": parts["readout.bias"] - readout[:, hidden:] @ parts["program_scaling.mean"],
            "score": np.concatenate([parts["score.bias"], parts["score.weight"][0]]),
        }
        return Weights(
            **{name: array.astype(np.float32) for name, array in arrays.items()},
            node_bounds=self.node_scaling.bounds(),
            program_bounds=self.program_scaling.bounds(),
        )

    def _leaves(self, projected: Tensor) -> Tensor:
        update, _, candidate = projected.chunk(3, dim=1)
        return torch.sigmoid(-update) * torch.tanh(candidate)

    def _step(self, projected: Tensor, sums: Tensor) -> Tensor:
        hidden = sums.shape[1]
        recurrent = self.recurrent(sums)
        update, reset = torch.sigmoid(projected[:, : 2 * hidden] + recurrent[:, : 2 * hidden]).chunk(2, dim=1)
        candidate = torch.tanh(projected[:, 2 * hidden :] + reset * recurrent[:, 2 * hidden :])
        return candidate + update * (sums - candidate)


class TreeGRUModel:
    """The tree GRU as a cost model."""

    name: ClassVar[str] = "treegru"

    def __init__(
        self,
        config: TreeGRUConfig | None = None,
        training: TrainConfig | None = None,
        refit: RefitConfig | None = None,
    ) -> None:
        self.config = config or TreeGRUConfig()
        self.training = training or TrainConfig()
        self.refit = refit or RefitConfig()
        self.network = TreeGRU(self.config)

    def fit(self, data: FeatureDataset, rng: np.random.Generator, progress: Progress | None = None) -> None:
        self._begin(data, rng)
        train(self.network, data, self.training, rng, progress)

    @property
    def is_fitted(self) -> bool:
        return bool(self.network.node_scaling.scale.any())

    def tuned(self, task: TaskFeatures, rng: np.random.Generator) -> Self:
        """Fine-tunes a copy; the input scaling stays that of the first training."""
        data = FeatureDataset((task,))
        model = type(self)(self.config, self.training, self.refit)
        if self.is_fitted:
            model.network.load_state_dict(self.network.state_dict())
            training = self.refit.training(len(task))
        else:
            model._begin(data, rng)
            training = self.refit.training(len(task), self.training.learning_rate)
        train(model.network, data, training, rng, None)
        return model

    def score(self, batch: TreeBatch) -> Scores:
        return score_in_blocks(self.network, batch)

    def compile(self, features: SketchFeatures) -> SketchScorer:
        return compile_sketch(self.network.weights(), features)

    def state(self) -> ModelState:
        tensors = self.network.state_dict()
        return ModelState(asdict(self.config), {name: tensor.numpy() for name, tensor in tensors.items()})

    @classmethod
    def from_state(cls, state: ModelState) -> Self:
        model = cls(TreeGRUConfig(**_known_fields(state.config)))
        expected = {name: tuple(tensor.shape) for name, tensor in model.network.state_dict().items()}
        found = {name: array.shape for name, array in state.arrays.items()}
        if expected != found:
            wrong = {name for name in expected | found if expected.get(name) != found.get(name)}
            raise ValueError(f"the arrays {sorted(wrong)} do not fit a tree GRU with {model.config}")
        arrays: dict[str, NDArray[Any]] = {name: np.array(array) for name, array in state.arrays.items()}
        model.network.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()})
        return model

    def _begin(self, data: FeatureDataset, rng: np.random.Generator) -> None:
        """Fresh weights, and the input scaling of the data."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_of(rng))
            self.network = TreeGRU(self.config)
        self.network.measure_inputs(data.trees)


def _known_fields(config: Any) -> dict[str, int]:
    if set(config) != {"hidden", "readout"}:
        raise ValueError(f"a tree GRU is configured by hidden and readout, got {sorted(config)}")
    return {name: int(value) for name, value in config.items()}
