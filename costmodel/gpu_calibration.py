"""The analytic model of GPUs with efficiencies that are learnt: how far kernels stay below each rate.

Seconds of a kernel are a weighted sum of the bounds of ``costmodel.encoders.gpu_roofline`` and of the time of
a launch. The weights, none of them negative, are six numbers, so few measurements determine them.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import nnls

from codegen.gpu_device import GpuDevice
from costmodel.encoders.gpu_roofline import BOUNDS, GpuRooflineConfig, KernelWork, Values, bounds_s

NUM_TERMS = len(BOUNDS) + 1


def terms_s(work: KernelWork, device: GpuDevice, config: GpuRooflineConfig | None = None) -> Values:
    """Seconds of each bound and of a launch, shape (N, NUM_TERMS); they mean nothing of what does not fit."""
    config = config or GpuRooflineConfig()
    bounds = bounds_s(work, device, config)
    return np.vstack([bounds, np.full((1, bounds.shape[1]), config.launch_s)]).T


def fit_weights(terms: Values, seconds: Values, importance: Values | None = None) -> Values:
    """Weights of the terms, shape (NUM_TERMS,), that make the sum of squared relative errors least.

    By the method of non-negative least squares of Lawson and Hanson (1974).

    Args:
        terms: as ``terms_s``, of kernels that were measured.
        seconds: what was measured, shape (N,).
        importance: of each measurement, shape (N,); all alike by default.

    >>> terms = np.array([[1.0, 0, 0, 0, 0, 1.0], [2.0, 0, 0, 0, 0, 1.0]])
    >>> fit_weights(terms, np.array([5.0, 7.0])).round(6).tolist()
    [2.0, 0.0, 0.0, 0.0, 0.0, 3.0]
    """
    roots = np.sqrt(np.ones(len(seconds)) if importance is None else importance)
    rows = terms * (roots / seconds)[:, None]
    weights: Values = nnls(rows, roots)[0]
    return weights
