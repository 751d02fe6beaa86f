"""What is learnt from other tasks plus what a task itself teaches: f = f_global + f_local.

The transfer of AutoTVM (arXiv:1805.08166, section 4): the global model stays as it is, and the local one
learns what it gets wrong on the task at hand.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import xgboost
from numpy.typing import NDArray

from costmodel.batching import TreeBatch
from costmodel.dataset import FeatureDataset
from costmodel.encoders.gradient_boosting import flat_features
from costmodel.model import ModelState, Progress, Scores
from costmodel.neural import NeuralModel

LOWEST_LOG_LABEL = -4.0
"""A failure counts as slower than anything that ran, as in ``GradientBoostingModel``."""


@dataclass(frozen=True, kw_only=True)
class LocalConfig:
    """Small boosted trees: a task in tuning has tens to hundreds of measurements."""

    num_rounds: int = 60
    max_depth: int = 4
    learning_rate: float = 0.15
    min_child_weight: float = 2.0

    def __post_init__(self) -> None:
        if self.num_rounds < 1 or self.max_depth < 1 or not self.learning_rate > 0:
            raise ValueError(f"num_rounds, max_depth and learning_rate must be positive, got {self}")


class GlobalLocalModel:
    """A network of all tasks, and boosted trees on its errors in one task."""

    name: ClassVar[str] = "global_local"

    def __init__(self, shared: NeuralModel, config: LocalConfig | None = None) -> None:
        self.shared = shared
        self.config = config or LocalConfig()
        self._local: xgboost.Booster | None = None

    @property
    def snapshot(self) -> Path | None:
        """That of the network."""
        return self.shared.snapshot

    @snapshot.setter
    def snapshot(self, path: Path | None) -> None:
        self.shared.snapshot = path

    def fit(self, data: FeatureDataset, rng: np.random.Generator, progress: Progress | None = None) -> None:
        self.shared.fit(data, rng, progress)
        self._local = None

    @property
    def is_fitted(self) -> bool:
        return self.shared.is_fitted or self._local is not None

    @property
    def num_parameters(self) -> int:
        lines = [] if self._local is None else self._local.get_dump()
        return self.shared.num_parameters + sum(text.count("\n") for text in lines)

    def tuned(self, data: FeatureDataset, rng: np.random.Generator) -> Self:
        """The local part boosted on with these tasks; a network that knows nothing counts as 0."""
        rows, labels, margins = [], [], []
        for task in data.tasks:
            label = np.maximum(np.log(np.maximum(task.labels, 1e-30)), LOWEST_LOG_LABEL)
            rows.append(flat_features(task.trees))
            labels.append(label)
            # Scores are up to a constant per task.
            margins.append(self._global(task.trees) + np.mean(label - self.score(task.trees)))
        features, label, margin = (np.concatenate(part) for part in (rows, labels, margins))
        matrix = xgboost.DMatrix(features, label=label, base_margin=margin)
        rounds, model = self.config.num_rounds, type(self)(self.shared, self.config)
        model._local = xgboost.train(self._parameters(rng), matrix, rounds, xgb_model=self._local)
        return model

    def score(self, batch: TreeBatch) -> Scores:
        known = self._global(batch)
        if self._local is None or not len(batch):
            return known
        rows = flat_features(batch)
        local = self._local.inplace_predict(rows, base_margin=np.zeros(len(rows)), predict_type="margin")
        return np.asarray(known + local, dtype=np.float32)

    def state(self) -> ModelState:
        shared = self.shared.state()
        arrays: dict[str, NDArray[Any]] = {f"global.{name}": a for name, a in shared.arrays.items()}
        if self._local is not None:
            arrays["local"] = np.frombuffer(bytes(self._local.save_raw("json")), dtype=np.uint8)
        network = {"model": self.shared.name, "network": dict(shared.config)}
        return ModelState({**asdict(self.config), **network}, arrays)

    def restored(self, state: ModelState) -> Self:
        if state.config.get("model") != self.shared.name:
            raise ValueError(f"the state is of a {state.config.get('model')}, not of a {self.shared.name}")
        prefix = "global."
        arrays = {k.removeprefix(prefix): a for k, a in state.arrays.items() if k.startswith(prefix)}
        shared = self.shared.restored(ModelState(state.config["network"], arrays))
        model = type(self)(shared, LocalConfig(**{name: state.config[name] for name in asdict(self.config)}))
        if "local" in state.arrays:
            model._local = xgboost.Booster()
            model._local.load_model(bytearray(state.arrays["local"].tobytes()))
        return model

    def _global(self, batch: TreeBatch) -> Scores:
        return self.shared.score(batch) if self.shared.is_fitted else np.zeros(len(batch), dtype=np.float32)

    def _parameters(self, rng: np.random.Generator) -> dict[str, Any]:
        return {
            "objective": "reg:squarederror",
            "base_score": 0.0,
            "max_depth": self.config.max_depth,
            "eta": self.config.learning_rate,
            "min_child_weight": self.config.min_child_weight,
            "tree_method": "hist",
            "seed": int(rng.integers(2**31)),
        }
