"""Gradient-boosted trees on knob features; members of an ensemble see different trials."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xgboost
from numpy.typing import NDArray

from costmodel.knobs.features import Array

LEAST_DEVIATION = 0.05
"""Members may agree where none of them knows anything."""


@dataclass(frozen=True, kw_only=True)
class BoostedConfig:
    """``num_members`` boosters of few small trees: a refit comes every few trials."""

    num_members: int = 5
    num_rounds: int = 60
    max_depth: int = 5
    learning_rate: float = 0.15
    subsample: float = 0.7

    def __post_init__(self) -> None:
        if min(self.num_members, self.num_rounds, self.max_depth) < 1:
            raise ValueError(f"num_members, num_rounds and max_depth must be at least 1, got {self}")


class BoostedTrees:
    """``priors`` (points, sources), as other devices give them, are features like the knobs."""

    def __init__(
        self, features: Array, config: BoostedConfig, rng: np.random.Generator, priors: Array | None = None
    ) -> None:
        rows = features if priors is None else np.column_stack([features, priors])
        self._features = rows.astype(np.float32)
        self._config = config
        self._rng = rng
        self._boosters: list[xgboost.Booster] = []

    def fit(self, rows: NDArray[np.int64], targets: Array) -> None:
        matrix = xgboost.DMatrix(self._features[rows], label=targets)
        config = self._config
        options = {
            "max_depth": config.max_depth,
            "eta": config.learning_rate,
            "subsample": config.subsample,
            "colsample_bynode": 0.7,
            "tree_method": "hist",
            "nthread": 1,
        }
        self._boosters = [
            xgboost.train({**options, "seed": int(seed)}, matrix, num_boost_round=config.num_rounds)
            for seed in self._rng.integers(2**31, size=config.num_members)
        ]

    def predict(self) -> tuple[Array, Array]:
        found = np.stack([each.inplace_predict(self._features) for each in self._boosters]).astype(np.float64)
        return found.mean(axis=0), np.maximum(found.std(axis=0), LEAST_DEVIATION)
