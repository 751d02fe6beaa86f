"""A cost model on one space: what a search asks, and what learns from its measurements."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codegen.measure.cores import usable_cores
from codegen.schedule import Candidates, Space
from costmodel.dataset import TaskFeatures
from costmodel.features.featurise import Featuriser
from costmodel.model import CompilesSketches, CostModel, Scores, SketchScorer

CHUNK = 256
"""Candidates scored in one call: their features stay in the L2 cache."""


class Predictor:
    """Scores candidates; ``refit`` replaces the model by one that has also seen measurements of the task.

    Every refit starts from the model that was given and sees all measurements, so it depends on them
    and the seed alone, not on how often it was called: a resumed run ends in the same state.
    """

    def __init__(self, model: CostModel, space: Space, seed: int = 0, num_threads: int | None = None) -> None:
        self.space = space
        self.model = model
        self._pretrained = model
        self._seed = seed
        self._featuriser = Featuriser(space)
        self._scorers: dict[int, SketchScorer] = {}
        self._num_threads = num_threads or usable_cores()
        self._threads = ThreadPoolExecutor(self._num_threads)

    @property
    def is_fitted(self) -> bool:
        """Whether scores mean anything yet."""
        return self.model.is_fitted

    def score(self, candidates: Candidates) -> Scores:
        """Shape (N,), higher is faster."""
        if not len(candidates):
            return np.zeros(0, dtype=np.float32)
        result = np.zeros(len(candidates), dtype=np.float32)
        jobs = self._jobs(candidates, result)
        if jobs is None:
            return self.model.score(self._featuriser(candidates))
        others = [
            self._threads.submit(_run, jobs[i :: self._num_threads]) for i in range(1, self._num_threads)
        ]
        _run(jobs[:: self._num_threads])
        for other in others:
            other.result()
        return result

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
        if len(latency_s) < 2 or np.isnan(latency_s).all():
            return
        task = TaskFeatures("tuning", self._featuriser(candidates), latency_s, np.zeros((0, 2)))
        try:
            tuned = self._pretrained.tuned(task, np.random.default_rng(self._seed))
        except FloatingPointError:
            return
        if np.isfinite(tuned.score(task.trees)).all():
            self.model = tuned
            self._scorers.clear()

    def _jobs(self, candidates: Candidates, result: Scores) -> list[_Job] | None:
        """None if the model has no faster way than through trees."""
        jobs = []
        for number, rows in self.space.by_sketch(candidates):
            scorer = self._scorer(number)
            if scorer is None:
                return None
            for start in range(0, len(rows), CHUNK):
                part = rows[start : start + CHUNK]
                values = self.space.values(number, candidates.positions[part])
                jobs.append(_Job(scorer, values, part, result))
        return jobs

    def _scorer(self, number: int) -> SketchScorer | None:
        if number not in self._scorers and isinstance(self.model, CompilesSketches):
            scorer = self.model.compile(self._featuriser.sketch(number))
            if scorer is not None:
                self._scorers[number] = scorer
        return self._scorers.get(number)


@dataclass(frozen=True)
class _Job:
    """Candidates of one sketch, whose scores go to their rows of ``result``."""

    scorer: SketchScorer
    values: Mapping[str, NDArray[np.int64]]
    rows: NDArray[np.int64]
    result: Scores


def _run(jobs: list[_Job]) -> None:
    for job in jobs:
        job.result[job.rows] = job.scorer.score(job.values, len(job.rows))
