"""Any encoder as a cost model: what is alike for all that are trained by gradients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
import torch

from costmodel.batching import TreeBatch
from costmodel.dataset import FeatureDataset
from costmodel.features.featurise import SketchFeatures
from costmodel.model import ModelState, Progress, Scores
from costmodel.native import NativeSketch
from costmodel.network import EncoderConfig, Ranker, score_in_blocks
from costmodel.train import RefitConfig, TrainConfig, seed_of, train

ENCODER = "encoder."
"""Prefix of the encoder's arrays in a network; a checkpoint names them without it."""


@runtime_checkable
class CompilesNetworks(Protocol):
    """A configuration of an encoder that also knows a faster way to score a sketch."""

    def compile(self, network: Ranker, features: SketchFeatures, /) -> NativeSketch:
        """For the weights the network has now."""


class NeuralModel:
    """A network that ranks trees, its training, and how it goes on learning while a task is tuned.

    ``snapshot``: a file from which ``fit`` goes on if it was stopped, see ``costmodel.train.train``.
    """

    def __init__(
        self, config: EncoderConfig, training: TrainConfig | None = None, refit: RefitConfig | None = None
    ) -> None:
        self.config = config
        self.training = training or TrainConfig()
        self.refit = refit or RefitConfig()
        self.network = Ranker(config)
        self.snapshot: Path | None = None

    @property
    def name(self) -> str:
        return self.config.name

    def fit(self, data: FeatureDataset, rng: np.random.Generator, progress: Progress | None = None) -> None:
        self._begin(data, rng)
        train(self.network, data, self.training, rng, progress, self.snapshot)

    @property
    def is_fitted(self) -> bool:
        return bool(self.network.node_scaling.scale.any())

    @property
    def num_parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.network.parameters())

    def tuned(self, data: FeatureDataset, rng: np.random.Generator) -> Self:
        """Fine-tunes a copy; the input scaling stays that of the first training."""
        sizes = [len(task) for task in data.tasks]
        model = type(self)(self.config, self.training, self.refit)
        if self.is_fitted:
            model.network.load_state_dict(self.network.state_dict())
            training = self.refit.training(sizes)
        else:
            model._begin(data, rng)
            training = self.refit.training(sizes, self.training.learning_rate)
        train(model.network, data, training, rng, None)
        return model

    def score(self, batch: TreeBatch) -> Scores:
        return score_in_blocks(self.network, batch)

    def compile(self, features: SketchFeatures) -> Sequence[NativeSketch]:
        if not isinstance(self.config, CompilesNetworks):
            return ()
        return (self.config.compile(self.network, features),)

    def state(self) -> ModelState:
        tensors = self.network.state_dict()
        arrays = {name.removeprefix(ENCODER): tensor.numpy() for name, tensor in tensors.items()}
        assert len(arrays) == len(tensors), f"arrays of the encoder {self.name} are named as those around it"
        return ModelState(asdict(self.config), arrays)

    def restored(self, state: ModelState) -> Self:
        config = _configured(self.config, state.config)
        model = type(self)(config, self.training, self.refit)
        names = {name.removeprefix(ENCODER): name for name in model.network.state_dict()}
        expected = {name: tuple(model.network.state_dict()[names[name]].shape) for name in names}
        found = {name: array.shape for name, array in state.arrays.items()}
        if expected != found:
            wrong = {name for name in expected | found if expected.get(name) != found.get(name)}
            raise ValueError(f"the arrays {sorted(wrong)} do not fit the model {config.name} with {config}")
        broken = sorted(name for name, array in state.arrays.items() if not np.isfinite(array).all())
        if broken:
            raise ValueError(f"the arrays {broken} hold numbers that are not finite; train the model anew")
        tensors = {names[name]: torch.from_numpy(np.array(array)) for name, array in state.arrays.items()}
        model.network.load_state_dict(tensors)
        return model

    def _begin(self, data: FeatureDataset, rng: np.random.Generator) -> None:
        """Fresh weights, and the input scaling of the data."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_of(rng))
            self.network = Ranker(self.config)
        self.network.measure_inputs([task.trees for task in data.tasks])


def _configured(config: Any, sizes: Mapping[str, Any]) -> Any:
    """A configuration of the same class with other sizes; ValueError names what it should be told."""
    names = [field.name for field in fields(config)]
    if set(sizes) != set(names):
        raise ValueError(
            f"the model {config.name} is configured by {' and '.join(names)}, got {sorted(sizes)}"
        )
    return replace(config, **{name: int(value) for name, value in sizes.items()})
