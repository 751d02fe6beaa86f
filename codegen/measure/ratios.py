"""How much faster one contestant is than the best of its rivals, from rounds that all took part in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

NUM_RESAMPLES = 2_000


@dataclass(frozen=True)
class Ratio:
    """Best rival's median time over ours, with a 95 % interval; ``rival`` is the one of least median."""

    rival: str
    value: float
    low: float
    high: float


def ratio_to_best(ours: Sequence[float], rivals: Mapping[str, Sequence[float]], seed: int = 0) -> Ratio:
    """Compare medians; the interval comes from a bootstrap over rounds.

    A round is drawn as a whole (ours and every rival's time in it), so what slows a whole round cancels,
    and the best rival is chosen anew in each resample.

    Args:
        ours: seconds per call of each round.
        rivals: the same of each rival, in the same rounds.
        seed: of the resamples.

    Raises:
        ValueError: there is no rival, or the numbers of rounds differ.

    >>> ratio_to_best([1.0, 1.0, 1.0], {"slow": [3.0, 3.0, 3.0], "fast": [2.0, 2.0, 2.0]})
    Ratio(rival='fast', value=2.0, low=2.0, high=2.0)
    """
    if not rivals or any(len(rival_s) != len(ours) for rival_s in rivals.values()) or not ours:
        num_rounds = {name: len(rival_s) for name, rival_s in rivals.items()}
        raise ValueError(f"need rivals with {len(ours)} rounds each (at least one), got {num_rounds}")
    names = list(rivals)
    times_s = np.array([ours, *(rivals[name] for name in names)])
    medians_s = np.median(times_s, axis=1)
    rounds = np.random.default_rng(seed).integers(len(ours), size=(NUM_RESAMPLES, len(ours)))
    resampled_s = np.median(times_s[:, rounds], axis=2)
    low, high = np.percentile(resampled_s[1:].min(axis=0) / resampled_s[0], [2.5, 97.5]).tolist()
    best = int(medians_s[1:].argmin())
    return Ratio(names[best], float(medians_s[1 + best] / medians_s[0]), low, high)
