"""Models that learn nothing: what a learned one must beat."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Self

import numpy as np

from costmodel.batching import TreeBatch
from costmodel.dataset import FeatureDataset
from costmodel.features.columns import PROGRAM_COLUMNS, column_index
from costmodel.model import ModelState, Progress, Scores


class ConstantModel:
    """Scores everything alike; metrics give ties their expectation."""

    name: ClassVar[str] = "constant"

    def fit(self, data: FeatureDataset, rng: np.random.Generator, progress: Progress | None = None) -> None:
        """Nothing to learn."""

    @property
    def is_fitted(self) -> bool:
        return True

    @property
    def num_parameters(self) -> int:
        return 0

    def tuned(self, data: FeatureDataset, rng: np.random.Generator) -> Self:
        return self

    def score(self, batch: TreeBatch) -> Scores:
        return np.zeros(len(batch), dtype=np.float32)

    def state(self) -> ModelState:
        return ModelState({}, {})

    def restored(self, state: ModelState) -> Self:
        return self


class RandomModel:
    """Scores that look random and yet depend on nothing but the features and the seed.

    A hash of the features orders the candidates, so a batch scores as its members alone do: their bits with
    random weights, modulo 2^64 (multilinear hashing, Carter and Wegman 1979), mixed once.
    """

    name: ClassVar[str] = "random"

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def fit(self, data: FeatureDataset, rng: np.random.Generator, progress: Progress | None = None) -> None:
        self.seed = int(rng.integers(2**31))

    @property
    def is_fitted(self) -> bool:
        return True

    @property
    def num_parameters(self) -> int:
        return 0

    def tuned(self, data: FeatureDataset, rng: np.random.Generator) -> Self:
        return self

    def score(self, batch: TreeBatch) -> Scores:
        result = np.zeros(len(batch), dtype=np.float32)
        for group in batch.groups:
            words = np.concatenate([group.nodes.reshape(len(group), -1), group.programs], axis=1)
            bits = np.ascontiguousarray(words).view(np.uint32).astype(np.uint64)
            places = np.arange(bits.shape[1], dtype=np.uint64)
            weights = _mixed(np.add(_mixed(np.array([self.seed + 1], np.uint64)), places, dtype=np.uint64))
            hashed = _mixed(np.matmul(bits, weights, dtype=np.uint64))
            result[group.rows] = hashed.astype(np.float64) / 2.0**64
        return result

    def state(self) -> ModelState:
        return ModelState({"seed": self.seed}, {})

    def restored(self, state: ModelState) -> Self:
        return type(self)(int(state.config["seed"]))


@dataclass(frozen=True, kw_only=True)
class RooflineConfig:
    """Bytes per half cycle of one thread (L1, L2 hits) and of the machine (L3, memory)."""

    l2_bytes: float = 16.0
    l3_bytes: float = 8.0
    memory_bytes: float = 3.0

    def __post_init__(self) -> None:
        if min(self.l2_bytes, self.l3_bytes, self.memory_bytes) <= 0:
            raise ValueError(f"bandwidths must be positive, got {self}")


class RooflineModel:
    """The slowest of arithmetic and each level of memory, with the waste of ragged tiles and idle threads.

    Williams et al. (2009), extended by traffic between caches: time is the greatest of the busiest
    thread's cycles and of bytes over bandwidth.
    """

    name: ClassVar[str] = "roofline"

    def __init__(self, config: RooflineConfig | None = None) -> None:
        self.config = config or RooflineConfig()

    def fit(self, data: FeatureDataset, rng: np.random.Generator, progress: Progress | None = None) -> None:
        """Nothing to learn."""

    @property
    def is_fitted(self) -> bool:
        return True

    @property
    def num_parameters(self) -> int:
        return 0

    def tuned(self, data: FeatureDataset, rng: np.random.Generator) -> Self:
        return self

    def score(self, batch: TreeBatch) -> Scores:
        if not len(batch):
            return np.zeros(0, dtype=np.float32)
        programs = batch.programs
        column = {name: programs[:, column_index(PROGRAM_COLUMNS, name)] for name in _ROOFLINE_COLUMNS}
        idle = column["imbalance"] - column["threads"]
        bounds = [
            column["thread_cycles"],
            column["beyond_l1"] + idle - np.log2(self.config.l2_bytes),
            column["beyond_l2"] + idle - np.log2(self.config.l3_bytes),
            column["beyond_l3"] - np.log2(self.config.memory_bytes),
        ]
        return np.asarray(-np.log(2) * np.max(bounds, axis=0), dtype=np.float32)

    def state(self) -> ModelState:
        return ModelState(asdict(self.config), {})

    def restored(self, state: ModelState) -> Self:
        config: dict[str, Any] = dict(state.config)
        return type(self)(RooflineConfig(**config))


_ROOFLINE_COLUMNS = ("thread_cycles", "imbalance", "threads", "beyond_l1", "beyond_l2", "beyond_l3")


def _mixed(words: np.ndarray[Any, np.dtype[np.uint64]]) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """The finaliser of splitmix64 (Steele et al. 2014)."""
    words = words + np.uint64(0x9E3779B97F4A7C15)
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(words ^ (words >> np.uint64(31)))
