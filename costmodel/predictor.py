"""A cost model on one space: what a search asks."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from codegen.schedule import Candidates, Space
from costmodel.batching import TreeBatch
from costmodel.dataset import FeatureDataset, TaskFeatures
from costmodel.encoders.treegru import TreeGRUModel
from costmodel.features.featurise import Featuriser
from costmodel.model import CostModel, Scores
from costmodel.train import TrainConfig


@dataclass(frozen=True, kw_only=True)
class RefitConfig:
    """How a model goes on learning while a task is tuned.

    Every refit starts from the pretrained weights and sees all measurements, so that resuming a run ends
    in the same state, and early plans are not learnt again and again. ``num_steps`` bounds its time.
    """

    num_steps: int = 60
    learning_rate: float = 1e-3
    candidates_per_step: int = 128
    seed: int = 0

    def __post_init__(self) -> None:
        if self.num_steps < 1 or not self.learning_rate > 0 or self.candidates_per_step < 2:
            raise ValueError(f"num_steps, learning_rate and candidates_per_step must be positive, got {self}")


class Predictor:
    """Scores candidates of a space by a model that was trained before, and does not change."""

    def __init__(self, model: CostModel, space: Space) -> None:
        self.model = model
        self.featuriser = Featuriser(space)

    def score(self, candidates: Candidates) -> Scores:
        """Shape (N,), higher is faster."""
        return self.model.score(self.featuriser(candidates))
