"""The contract that every cost model fulfils."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from costmodel.batching import TreeBatch
from costmodel.dataset import FeatureDataset, TaskFeatures
from costmodel.features.featurise import SketchFeatures
from costmodel.native import NativeSketch

Scores: TypeAlias = NDArray[np.float32]

Progress: TypeAlias = Callable[[int, int, float], None]
"""Called with (steps done, steps in all, loss of the last step)."""


@dataclass(frozen=True)
class ModelState:
    """All a model needs to score again: its configuration (JSON values) and its arrays."""

    config: Mapping[str, Any]
    arrays: Mapping[str, NDArray[Any]]


class CostModel(Protocol):
    """Ranks schedules of one task without running them.

    A score is read as the logarithm of speed, up to a constant per task: higher is faster. Scores of a
    batch equal those of each tree alone, whatever the order.
    """

    @property
    def name(self) -> str:
        """One word; a checkpoint of one model is not loaded as another."""

    def fit(self, data: FeatureDataset, rng: np.random.Generator, progress: Progress | None = None) -> None:
        """Learn from measured tasks, from scratch; the same data and generator give the same model.

        To the bit on equally many threads, which products of matrices are divided among.

        Raises:
            ValueError: if there is nothing to learn from.
        """

    @property
    def is_fitted(self) -> bool:
        """Whether scores mean anything yet."""

    @property
    def num_parameters(self) -> int:
        """Numbers that learning sets: weights, or splits and leaves."""

    def tuned(self, data: FeatureDataset, rng: np.random.Generator) -> Self:
        """A model that has also learnt from one or a few more tasks, in seconds; this one stays as it is.

        A model that is not fitted learns from these alone. In each task at least one candidate succeeded.
        """

    def score(self, batch: TreeBatch) -> Scores:
        """Shape (N,), finite, higher is faster."""

    def state(self) -> ModelState:
        """What ``restored`` rebuilds the model from."""

    def restored(self, state: ModelState) -> Self:
        """The model whose state it is, with equal scores and this one's options of learning.

        Raises:
            ValueError: the state is of something else.
        """


@runtime_checkable
class Resumes(Protocol):
    """A model whose ``fit`` keeps its state in a file, if given one, and goes on from it after a stop."""

    snapshot: Path | None


@runtime_checkable
class KnowsUncertainty(Protocol):
    """A model that says how far it may be off; widths are of log time, for candidates of one task.

    ``uncalibrated`` says why widths mean nothing although they should; else it is empty.
    """

    uncalibrated: str

    def half_widths(self, batch: TreeBatch, /) -> NDArray[np.float64]:
        """Shape (N,); NaN where it was not calibrated.

        Widths are relative to the batch's mean score, as scores have a constant per task open: give at least
        two candidates, drawn as the task's own. ValueError for fewer.
        """

    def covers(self, task: TaskFeatures, /) -> NDArray[np.bool_]:
        """For each candidate that did not fail, whether its time is as far off as said, or less."""


@runtime_checkable
class CompilesSketches(Protocol):
    """A model with a faster way to score a sketch than through a batch of trees, up to rounding."""

    def compile(self, features: SketchFeatures, /) -> Sequence[NativeSketch]:
        """For its weights now, parts whose mean is the score; none if this one has no such way."""
