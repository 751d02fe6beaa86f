"""The analytic model of GPUs on one space: what a search asks when no model has learnt of the device."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from codegen.gpu_target import GpuTarget
from codegen.schedule.candidates import Candidates
from codegen.schedule.space import Space
from codegen.triton.limits import Limits
from costmodel.encoders.gpu_roofline import GpuRooflineConfig, estimated_s
from costmodel.features.gpu import GpuFeaturiser
from costmodel.model import Scores


class GpuPrior:
    """Scores candidates by what a roofline with waves and occupancy expects; it learns nothing."""

    def __init__(self, space: Space[GpuTarget], config: GpuRooflineConfig | None = None) -> None:
        self.space = space
        self._config = config or GpuRooflineConfig()
        self._featuriser = GpuFeaturiser(space)
        self._limits = Limits(space)

    @property
    def is_fitted(self) -> bool:
        """It needs no measurements."""
        return True

    def refit(
        self, candidates: Candidates, latencies_s: NDArray[np.float64], failed: NDArray[np.bool_]
    ) -> None:
        """Measurements change nothing."""

    def score(self, candidates: Candidates) -> Scores:
        """Shape (N,), higher is faster; -inf for what the rule of ``Limits`` says does not fit."""
        total = np.zeros(len(candidates))
        for work in self._featuriser.facts(candidates).kernels:
            exists = work.num_programs > 0
            with np.errstate(divide="ignore", invalid="ignore"):
                total += np.where(exists, estimated_s(work, self._featuriser.device, self._config), 0.0)
        fits = self._limits.fits(candidates) & np.isfinite(total)
        with np.errstate(divide="ignore"):
            return np.where(fits, -np.log(total), -np.inf).astype(np.float32)
