"""XGBoost on a flat summary of the tree, as AutoTVM and TenSet use it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Self

import numpy as np
import xgboost
from numpy.typing import NDArray

from costmodel.batching import TreeBatch, TreeGroup
from costmodel.dataset import FeatureDataset
from costmodel.encoders.relations import relation_features
from costmodel.features.columns import NODE_COLUMNS, PROGRAM_COLUMNS, column_index
from costmodel.model import ModelState, Progress, Scores

NUM_LEAVES = 3
"""Statements described one by one: those with most work."""

NUM_LOOPS = 6
"""Loops around the heaviest statement described one by one, innermost first."""


@dataclass(frozen=True, kw_only=True)
class BoostingRefit:
    """Boosting on the few measurements of a task that is tuned, by fewer and larger steps and smaller leaves.

    The settings for a published set would leave so few nearly unlearnt.
    """

    num_rounds: int = 200
    learning_rate: float = 0.1
    min_child_weight: float = 4.0
    column_share: float = 0.5

    def __post_init__(self) -> None:
        if self.num_rounds < 1 or not self.learning_rate > 0:
            raise ValueError(f"num_rounds and learning_rate of a refit must be positive, got {self}")


@dataclass(frozen=True, kw_only=True)
class GradientBoostingConfig:
    """Chosen on four folds of the shipped tasks to learn from, among four settings.

    They order 0.869 of the pairs there, the TenSet paper's with fewer and larger steps, which are those of a
    refit, 0.861; a depth of 10 changes nothing. ``min_child_weight`` is a number of candidates or, with
    ``ranks_pairs``, the curvature of their pairs, far less for each: a few dozen need less of it.
    ``features``: flat (``flat_features``) or relations (``costmodel.encoders.relations``).
    """

    num_rounds: int = 1000
    max_depth: int = 8
    learning_rate: float = 0.05
    min_child_weight: float = 20.0
    subsample: float = 0.8
    column_share: float = 0.3
    ranks_pairs: bool = False
    features: str = "flat"
    refit: BoostingRefit = field(default_factory=BoostingRefit)

    def __post_init__(self) -> None:
        if self.features not in FEATURES:
            raise ValueError(f"features must be {' or '.join(FEATURES)}, got {self.features!r}")
        if self.num_rounds < 1 or self.max_depth < 1 or not self.learning_rate > 0:
            raise ValueError(f"num_rounds, max_depth and learning_rate must be positive, got {self}")

    def for_refit(self) -> GradientBoostingConfig:
        """With the steps of a refit."""
        return replace(self, **asdict(self.refit))


class GradientBoostingModel:
    """Regression trees on log(label), or on pairs (``rank:pairwise``) within each task."""

    def __init__(self, config: GradientBoostingConfig | None = None) -> None:
        self.config = config or GradientBoostingConfig()
        self._booster: xgboost.Booster | None = None

    @property
    def name(self) -> str:
        return "xgboost" if self.config.features == "flat" else f"xgboost_{self.config.features}"

    def fit(self, data: FeatureDataset, rng: np.random.Generator, progress: Progress | None = None) -> None:
        self._boost(self.config, data, rng, progress, start=None)

    @property
    def is_fitted(self) -> bool:
        return self._booster is not None

    @property
    def num_parameters(self) -> int:
        if self._booster is None:
            return 0
        return sum(text.count("\n") for text in self._booster.get_dump())  # a line per split or leaf

    def tuned(self, data: FeatureDataset, rng: np.random.Generator) -> Self:
        """Boosts on: the new trees explain what the old ones get wrong on these tasks."""
        model = type(self)(self.config)
        model._boost(self.config.for_refit(), data, rng, None, self._booster)
        return model

    def score(self, batch: TreeBatch) -> Scores:
        if self._booster is None:
            return np.zeros(len(batch), dtype=np.float32)
        result: Scores = self._booster.inplace_predict(self._features(batch)).astype(np.float32)
        return result

    def state(self) -> ModelState:
        arrays: dict[str, NDArray[Any]] = {}
        if self._booster is not None:
            arrays["booster"] = np.frombuffer(bytes(self._booster.save_raw("json")), dtype=np.uint8)
        return ModelState(asdict(self.config), arrays)

    def restored(self, state: ModelState) -> Self:
        config: dict[str, Any] = dict(state.config)
        # Checkpoints of before refits had settings of their own were refitted by those of their training.
        names = [each.name for each in fields(BoostingRefit)]
        refit = config.pop("refit", None) or {name: config[name] for name in names}
        model = type(self)(GradientBoostingConfig(**config, refit=BoostingRefit(**refit)))
        if "booster" in state.arrays:
            model._booster = xgboost.Booster()
            model._booster.load_model(bytearray(state.arrays["booster"].tobytes()))
        return model

    def _features(self, batch: TreeBatch) -> NDArray[np.float32]:
        return FEATURES[self.config.features](batch)

    def _boost(
        self,
        config: GradientBoostingConfig,
        data: FeatureDataset,
        rng: np.random.Generator,
        progress: Progress | None,
        start: xgboost.Booster | None,
    ) -> None:
        tasks = data.learnable().tasks
        if not tasks:
            raise ValueError(f"nothing to learn from: none of {len(data.tasks)} tasks has two candidates")
        rows = np.concatenate([self._features(task.trees) for task in tasks])
        labels = np.concatenate([task.labels for task in tasks])
        matrix = xgboost.DMatrix(rows, label=labels)
        if config.ranks_pairs:
            matrix.set_group([len(task) for task in tasks])
        else:
            # A failure counts as slower than anything that ran; e-fold 4 below the best.
            matrix.set_label(np.log(np.maximum(labels, np.exp(-4.0))))
        steps = [_Reporting(progress, config.num_rounds)] if progress is not None else []
        self._booster = xgboost.train(
            _parameters(config, rng),
            matrix,
            num_boost_round=config.num_rounds,
            callbacks=steps,
            xgb_model=start,
        )


def flat_features(batch: TreeBatch) -> NDArray[np.float32]:
    """One row per tree, alike for all topologies: sums, the heaviest statements, the loops around one.

    Program columns; per column the sum over loops and over leaves; the leaves with most cycles; the loops
    around the first of those, innermost first. What a tree lacks is 0.
    """
    width = len(PROGRAM_COLUMNS) + len(NODE_COLUMNS) * (2 + NUM_LEAVES + NUM_LOOPS)
    result = np.zeros((len(batch), width), dtype=np.float32)
    for group in batch.groups:
        result[group.rows] = _flat(group)
    return result


def _flat(group: TreeGroup) -> NDArray[np.float32]:
    nodes, trees = group.nodes, np.arange(len(group))[:, None]
    is_leaf = nodes[0, :, column_index(NODE_COLUMNS, "is_leaf")] > 0
    leaves, loops = np.flatnonzero(is_leaf), np.flatnonzero(~is_leaf)
    work = nodes[:, leaves, column_index(NODE_COLUMNS, "cycles")]
    heaviest = leaves[np.argsort(-work, axis=1, kind="stable")[:, :NUM_LEAVES]]
    around = _ancestors(group.parents)[heaviest[:, 0]]
    above = np.where(around[:, :, None] >= 0, nodes[trees, around], 0)
    parts = [group.programs, nodes[:, loops].sum(axis=1), nodes[:, leaves].sum(axis=1)]
    parts += [_padded(nodes[trees, heaviest], NUM_LEAVES), _padded(above, NUM_LOOPS)]
    return np.concatenate([part.reshape(len(group), -1) for part in parts], axis=1)


def _ancestors(parents: tuple[int, ...]) -> NDArray[np.int64]:
    """For each node its parent, grandparent, ..., -1 beyond the root; shape (nodes, NUM_LOOPS)."""
    result = np.full((len(parents), NUM_LOOPS), -1, dtype=np.int64)
    for node in range(1, len(parents)):
        result[node, 0] = parents[node]
        result[node, 1:] = result[parents[node], :-1]
    return result


def _padded(rows: NDArray[np.float32], num: int) -> NDArray[np.float32]:
    return np.pad(rows, ((0, 0), (0, num - rows.shape[1]), (0, 0)))


FEATURES: dict[str, Callable[[TreeBatch], NDArray[np.float32]]] = {
    "flat": flat_features,
    "relations": relation_features,
}
"""What the trees are turned into before boosting, by name."""


class _Reporting(xgboost.callback.TrainingCallback):
    """Tells the progress of boosting."""

    def __init__(self, progress: Progress, num_rounds: int) -> None:
        super().__init__()
        self.progress = progress
        self.num_rounds = num_rounds

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        self.progress(epoch + 1, self.num_rounds, float("nan"))
        return False


def _parameters(config: GradientBoostingConfig, rng: np.random.Generator) -> dict[str, Any]:
    return {
        "objective": "rank:pairwise" if config.ranks_pairs else "reg:squarederror",
        "max_depth": config.max_depth,
        "eta": config.learning_rate,
        "min_child_weight": config.min_child_weight,
        "subsample": config.subsample,
        "colsample_bytree": config.column_share,
        "tree_method": "hist",
        "seed": int(rng.integers(2**31)),
    }
