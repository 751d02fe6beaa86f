"""A cost model on one space: what a search asks, and what learns from its measurements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codegen.measure.cores import usable_cores
from codegen.schedule import Candidates, Space
from costmodel.dataset import FeatureDataset, TaskFeatures
from costmodel.features.featurise import Featuriser
from costmodel.model import CompilesSketches, CostModel, Scores
from costmodel.native import NativeScorer


class Predictor:
    """Scores candidates; ``refit`` replaces the model by one that has also seen measurements of the task.

    Every refit starts from the model that was given and sees all measurements, so it depends on them, the
    seed and what was taught last alone, not on how often it was called: a resumed run ends in the same state.
    """

    def __init__(
        self, model: CostModel, space: Space[Any], seed: int = 0, num_threads: int | None = None
    ) -> None:
        self.space = space
        self.model = model
        self._pretrained = model
        self._seed = seed
        self._lessons: tuple[TaskFeatures, ...] = ()
        self._featuriser = Featuriser(space)
        self._native: list[NativeScorer] = []
        self._num_threads = num_threads or usable_cores()

    @property
    def is_fitted(self) -> bool:
        """Whether scores mean anything yet."""
        return self.model.is_fitted

    def score(self, candidates: Candidates) -> Scores:
        """Shape (N,), higher is faster."""
        if not len(candidates):
            return np.zeros(0, dtype=np.float32)
        if not self._prepare(np.unique(candidates.sketches)):
            return self.model.score(self._featuriser(candidates))
        parts = [scorer.score(candidates) for scorer in self._native]
        return parts[0] if len(parts) == 1 else np.mean(parts, axis=0, dtype=np.float32)

    def refit(
        self,
        candidates: Candidates,
        latencies_s: NDArray[np.float64],
        failed: NDArray[np.bool_] | None = None,
    ) -> None:
        """Learn from all measurements so far; a latency that is not finite counts as failed.

        While there is nothing to compare (no success, or one candidate), and when learning diverges, the
        model stays as it is.
        """
        latency_s = np.where(np.isfinite(latencies_s), latencies_s, np.nan)
        if failed is not None:
            latency_s = np.where(failed, np.nan, latency_s)
        task = self.lesson(candidates, latency_s)
        if FeatureDataset((task,)).learnable().tasks:
            self._learn((task, *self._lessons))

    def lesson(self, candidates: Candidates, latencies_s: NDArray[np.float64]) -> TaskFeatures:
        """What this task's measurements (NaN for failures) can teach a predictor of another task."""
        return TaskFeatures("tuning", self._featuriser(candidates), latencies_s, np.zeros((0, 2)))

    def teach(self, lessons: Sequence[TaskFeatures]) -> None:
        """What other tasks' measurements say is learnt with the task's own from the next refit on.

        A model that knows nothing learns it at once. Of a pretrained one a few other tasks alone would
        take more than they give.
        """
        self._lessons = FeatureDataset(tuple(lessons)).learnable().tasks
        if self._lessons and not self.model.is_fitted:
            self._learn(self._lessons)

    def _learn(self, tasks: tuple[TaskFeatures, ...]) -> None:
        """From these tasks, unless learning diverges."""
        try:
            tuned = self._pretrained.tuned(FeatureDataset(tasks), np.random.default_rng(self._seed))
        except FloatingPointError:
            return
        if np.isfinite(tuned.score(tasks[0].trees)).all():
            self.model = tuned
            for scorer in self._native:
                scorer.clear()

    def _prepare(self, sketches: NDArray[np.int64]) -> bool:
        """Have native code ready for these sketches; False if the model has none."""
        if not isinstance(self.model, CompilesSketches):
            return False
        for number in sketches.tolist():
            if self._native and number in self._native[0]:
                continue
            parts = self.model.compile(self._featuriser.sketch(number))
            if not self._native:
                self._native = [NativeScorer(self.space, self._num_threads) for _ in parts]
            for scorer, part in zip(self._native, parts, strict=True):
                scorer.prepare(number, part)
        return bool(self._native)
