"""The searchers on the space of a real convolution, whose points often lower to equal kernels."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from codegen.ops.convolution import Conv2d
from codegen.schedule import build_space
from codegen.schedule.candidates import Candidates
from codegen.schedule.space import Space
from search.annealer import AnnealConfig, Annealer
from search.protocols import Searcher
from search.random_search import RandomSearch
from tests.targets import avx2_target


class NearTheMiddle:
    """Prefers the middle of every knob: a landscape that does not depend on the compiler."""

    def score(self, candidates: Candidates) -> NDArray[np.float64]:
        return -np.abs(candidates.positions - 2.0).sum(axis=1)
