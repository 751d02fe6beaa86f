"""A learned model beside the analytic one on a GPU: what a search asks when records have taught a model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from codegen.schedule.candidates import Candidates
from codegen.triton.compile import Resources
from costmodel.gpu_prior import GpuPrior
from costmodel.model import Scores
from costmodel.predictor import Predictor


class GpuBlend:
    """Scores are the mean of both models', each a logarithm of speed; what does not fit stays at -inf.

    The two err in different ways: the analytic model knows waves and occupancy, the learned one what loop
    trees have in common that were slow. Ranked by the mean, held-out tasks are ordered better than by
    either (docs/triton.md). Both learn from the trials of a search.
    """

    def __init__(self, prior: GpuPrior, predictor: Predictor) -> None:
        self._prior, self._predictor = prior, predictor

    @property
    def is_fitted(self) -> bool:
        """The analytic model needs no measurements."""
        return True

    def refit(
        self, candidates: Candidates, latencies_s: NDArray[np.float64], failed: NDArray[np.bool_]
    ) -> None:
        """As ``GpuPrior.refit`` and ``Predictor.refit``."""
        self._prior.refit(candidates, latencies_s, failed)
        self._predictor.refit(candidates, latencies_s, failed)

    def score(self, candidates: Candidates, compiled: Sequence[Sequence[Resources]] | None = None) -> Scores:
        """As ``GpuPrior.score``."""
        return blended(self._prior.score(candidates, compiled), self._predictor.score(candidates))


def blended(analytic: Scores, learned: Scores) -> Scores:
    """The mean; neither is asked to be the better one, which would take measurements to say."""
    return (analytic + learned) / np.float32(2)
