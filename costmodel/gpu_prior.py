"""The analytic model of GPUs on one space: what a search asks when no model has learnt of the device."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from codegen.gpu_target import GpuTarget
from codegen.schedule.candidates import Candidates
from codegen.schedule.space import Space
from codegen.triton.compile import Resources
from codegen.triton.limits import Limits
from costmodel.encoders.gpu_roofline import GpuRooflineConfig, KernelWork, Values, estimated_s
from costmodel.features.gpu import GpuFeaturiser
from costmodel.gpu_calibration import fit_weights, terms_s
from costmodel.model import Scores

MIN_TRIALS = 32
"""Measured candidates that weights are learnt from: five times as many as there are weights."""


class GpuPrior:
    """Scores candidates by what a roofline with waves and occupancy expects.

    From ``MIN_TRIALS`` measured candidates on, it weighs the bounds of the roofline by what they taught
    (``costmodel.gpu_calibration``).
    """

    def __init__(self, space: Space[GpuTarget], config: GpuRooflineConfig | None = None) -> None:
        self.space = space
        self.config = config or GpuRooflineConfig()
        self._featuriser = GpuFeaturiser(space)
        self._limits = Limits(space)
        self._weights: Values | None = None

    @property
    def is_fitted(self) -> bool:
        """It needs no measurements."""
        return True

    def refit(
        self, candidates: Candidates, latencies_s: NDArray[np.float64], failed: NDArray[np.bool_]
    ) -> None:
        """Learn the weights of the bounds from what did not fail, if that is enough."""
        rows = np.flatnonzero(~failed)
        if len(rows) >= MIN_TRIALS:
            measured = Candidates(candidates.sketches[rows], candidates.positions[rows])
            terms = self._sum(self._featuriser.facts(measured).kernels, self._terms)
            self._weights = fit_weights(terms, latencies_s[rows])

    def score(self, candidates: Candidates, compiled: Sequence[Sequence[Resources]] | None = None) -> Scores:
        """Shape (N,), higher is faster; -inf for what the rule of ``Limits`` says does not fit.

        ``compiled`` as in ``GpuFeaturiser.facts``.
        """
        works = self._featuriser.facts(candidates, compiled).kernels
        with np.errstate(divide="ignore", invalid="ignore"):
            total = self._sum(works, self._estimate)
            if self._weights is not None:
                total = np.where(np.isfinite(total), self._sum(works, self._terms) @ self._weights, np.inf)
            fits = self._limits.fits(candidates) & np.isfinite(total)
            return np.where(fits, -np.log(total), -np.inf).astype(np.float32)

    def _estimate(self, work: KernelWork) -> Values:
        return estimated_s(work, self._featuriser.device, self.config)

    def _terms(self, work: KernelWork) -> Values:
        return terms_s(work, self._featuriser.device, self.config)

    def _sum(self, works: Sequence[KernelWork], of: Callable[[KernelWork], Values]) -> Values:
        """Over the kernels of each candidate, which may have fewer than others."""
        with np.errstate(divide="ignore", invalid="ignore"):
            parts = [np.where(work.num_programs > 0, of(work).T, 0.0).T for work in works]
        total: Values = np.sum(parts, axis=0)
        return total
