"""How soon each contender has a schedule near the best known one, and how good its schedules are by then."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student_t

from scripts.suites.search_efficiency.curves import Curves
from search.curves import trials_to_reach

Array = NDArray[np.float64]

SHARE = 0.95
"""Of the best known speed, that has to be reached."""

CONFIDENCE = 0.95


@dataclass(frozen=True)
class WorkloadRuns:
    """All runs on one workload; ``best_s`` is the time of the best known, of these runs or of others.

    ``curves`` are times of what would have been delivered after each trial, shape (seeds, trials) in seconds,
    by contender, and ``elapsed_s`` the seconds of tuning at the end of each trial, alike. The times are of
    ``num_sittings``, between which they have a relative ``scatter`` (NaN: unknown), with cores at most
    ``exchange_s`` apart (infinity: not seen).
    """

    workload: str
    best_s: float
    curves: Mapping[str, Curves]
    elapsed_s: Mapping[str, Array]
    num_sittings: int
    exchange_s: float
    scatter: float

    def trials_needed(self, name: str) -> Array:
        """Trials of each run to ``SHARE``, shape (seeds,); one that never gets there: its budget + 1."""
        return np.array([trials or curve.size + 1 for curve, trials in self._reached(name)], dtype=np.float64)

    def seconds_needed(self, name: str) -> Array:
        """As ``trials_needed`` in seconds of tuning; one that never gets there counts all that it took."""
        reached = [trials or curve.size for curve, trials in self._reached(name)]
        seconds: Array = self.elapsed_s[name][np.arange(len(reached)), np.array(reached) - 1]
        return seconds

    def is_reached(self, name: str) -> NDArray[np.bool_]:
        """Which runs got there, shape (seeds,)."""
        return np.array([trials is not None for _, trials in self._reached(name)])

    def speeds(self, name: str, trial: int) -> Array:
        """Share of the best known speed after a trial (the last one, if there are fewer), shape (seeds,)."""
        curves = self.curves[name]
        return np.nan_to_num(self.best_s / curves[:, min(trial, curves.shape[1]) - 1])

    def _reached(self, name: str) -> list[tuple[Array, int | None]]:
        return [(curve, trials_to_reach(curve, self.best_s / SHARE)) for curve in self.curves[name]]


@dataclass(frozen=True)
class Estimate:
    """A mean with its 95 % interval by Student's t over the seeds; NaN bounds for a single seed.

    A seed is a training of the model and a search on every workload, so that chance of training, which
    all workloads of a seed share, is in it.
    """

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Standing:
    """A contender over all workloads.

    ``trials`` and ``seconds`` are means to ``SHARE`` of the best; ``saving`` is the geometric mean over the
    workloads of how many times the trials of the contender the reference needs. Where ``share_reached`` of
    the runs is below 1, ``trials`` and ``seconds`` are lower bounds and ``saving`` is an upper one; it is a
    lower one where only the reference's is below 1, and none where both are.
    ``speeds`` are mean shares of the best speed after so many trials: what the timing tells best, since they
    do not hang on which schedules pass a mark by a hair.
    """

    name: str
    speeds: Mapping[int, Estimate]
    trials: Estimate
    seconds: Estimate
    saving: Estimate
    share_reached: float


def standings(runs: Sequence[WorkloadRuns], reference: str, trials: Sequence[int]) -> list[Standing]:
    """Of every contender, with speeds after each of ``trials``."""
    theirs = np.stack([each.trials_needed(reference) for each in runs])
    found = []
    for name in runs[0].curves:
        ours = np.stack([each.trials_needed(name) for each in runs])
        seconds = np.stack([each.seconds_needed(name) for each in runs])
        budget = max(each.curves[name].shape[1] for each in runs)
        found.append(
            Standing(
                name,
                speeds={t: _share(np.stack([each.speeds(name, t) for each in runs])) for t in trials},
                trials=_mean(ours, low=1.0, high=budget + 1.0),
                seconds=_mean(seconds),
                saving=_ratio(theirs, ours),
                share_reached=float(np.mean([each.is_reached(name).mean() for each in runs])),
            )
        )
    return found


def _share(values: Array) -> Estimate:
    """The mean of shares of shape (workloads, seeds), whose interval is symmetric."""
    mean, margin = float(values.mean()), _margin(values.mean(axis=0))
    return Estimate(mean, mean - margin, mean + margin)


def _mean(values: Array, low: float = 0.0, high: float = np.inf) -> Estimate:
    """Of values of shape (workloads, seeds), which lie between ``low`` and ``high``."""
    mean = float(values.mean())
    factor = _factor(values.mean(axis=0) / mean)
    return Estimate(mean, float(np.maximum(low, mean / factor)), float(np.minimum(high, mean * factor)))


def _ratio(theirs: Array, ours: Array) -> Estimate:
    """The geometric mean over workloads of the ratios of means over seeds; both of (workloads, seeds)."""
    means = [values.mean(axis=1, keepdims=True) for values in (theirs, ours)]
    ratio = float(np.exp(np.log(means[0] / means[1]).mean()))
    # What each seed adds to the logarithm, to first order.
    factor = _factor((theirs / means[0] - ours / means[1]).mean(axis=0))
    return Estimate(ratio, ratio / factor, ratio * factor)


def _factor(relative: Array) -> float:
    """How many times its value a quantity may be off, from what each seed says of it, relative to it.

    The interval is symmetric on the logarithm, since counts and seconds are positive and skewed.
    """
    return float(np.exp(_margin(relative)))


def _margin(values: Array) -> float:
    """Half of the interval around the mean of values of the seeds; NaN for a single one."""
    if len(values) < 2:
        return float("nan")
    error = values.std(ddof=1) / np.sqrt(len(values))
    return float(student_t.ppf((1 + CONFIDENCE) / 2, len(values) - 1) * error)
