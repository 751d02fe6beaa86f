"""How the ways of teaching a network compare, and on which tasks what it knew of others hurts."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import false_discovery_control
from scipy.stats import t as student_t

from costmodel.metrics import bootstrap_intervals
from scripts.suites.transfer.outcomes import TAUGHT, WAYS, Outcome

FALSE_DISCOVERIES = 0.05
"""Share of the cases of harm that may be chance."""


@dataclass(frozen=True)
class Harm:
    """A task on which a way that knew other tasks ranks worse than ``local``, which knew none.

    Mean pairwise accuracies over the draws, and how far the second is ahead of the first, which is negative.
    """

    task: str
    num_measured: int
    way: str
    local: float
    taught: float
    ahead: float


@dataclass(frozen=True)
class Standing:
    """Mean pairwise accuracy of a way over the tasks with so many measurements, with its 95 % interval.

    ``num_hurt``: on how many of the tasks it is worse than ``local`` beyond chance; None for ``local``.
    """

    num_measured: int
    way: str
    num_tasks: int
    accuracy: float
    low: float
    high: float
    num_hurt: int | None


def standings_of(outcomes: Sequence[Outcome], hurt: Sequence[Harm], seed: int) -> list[Standing]:
    """By size, then by way, with the ``harms`` of the outcomes; the intervals are over groups of tasks."""
    groups = {each.task: each.group for each in outcomes}
    hurting = [(each.num_measured, each.way) for each in hurt]
    found = []
    for size, way in itertools.product(sorted({each.num_measured for each in outcomes}), WAYS):
        drawn = _by_case(outcomes, way)
        means = {task: float(values.mean()) for (task, num), values in drawn.items() if num == size}
        named = [{"accuracy": mean} for mean in means.values()]
        rng = np.random.default_rng(seed)
        low, high = bootstrap_intervals(named, rng, [groups[task] for task in means])["accuracy"]
        num_hurt = hurting.count((size, way)) if way in TAUGHT else None
        mean = float(np.mean(list(means.values())))
        found.append(Standing(size, way, len(named), mean, low, high, num_hurt))
    return found


def harms(outcomes: Sequence[Outcome]) -> list[Harm]:
    """The cases, tasks after a number of measurements, in which knowledge of others hurts, worst first.

    Only where that is no chance: by a one-sided t test over the draws, both ways being paired in each, so
    that of all that are named of a way about ``FALSE_DISCOVERIES`` are wrong (Benjamini and Hochberg 1995).
    """
    local = _by_case(outcomes, "local")
    found = [harm for way in TAUGHT for harm in _harms_of(way, local, _by_case(outcomes, way))]
    return sorted(found, key=lambda harm: harm.ahead)


Drawn = Mapping[tuple[str, int], NDArray[np.float64]]
"""Accuracies by task and size, in the order of the draws."""


def _harms_of(way: str, local: Drawn, taught: Drawn) -> list[Harm]:
    cases = [case for case in sorted(taught) if len(local.get(case, ())) > 1]
    if not cases:
        return []
    chances = [_chance_of_harm(local[case] - taught[case]) for case in cases]
    is_hurt = false_discovery_control(chances) <= FALSE_DISCOVERIES
    means = ((case, float(local[case].mean()), float(taught[case].mean())) for case in cases)
    return [
        Harm(*case, way, alone, knowing, knowing - alone)
        for (case, alone, knowing), named in zip(means, is_hurt.tolist(), strict=True)
        if named
    ]


def _by_case(outcomes: Sequence[Outcome], way: str) -> Drawn:
    drawn: dict[tuple[str, int], dict[int, float]] = {}
    for each in outcomes:
        if each.way == way:
            drawn.setdefault((each.task, each.num_measured), {})[each.draw] = each.pairwise_accuracy
    return {case: np.array([values[draw] for draw in sorted(values)]) for case, values in drawn.items()}


def _chance_of_harm(losses: NDArray[np.float64]) -> float:
    """Probability of a mean loss like this, or a larger one, if there is none to be expected."""
    mean, error = losses.mean(), losses.std(ddof=1) / np.sqrt(len(losses))
    if error == 0:
        return 0.0 if mean > 0 else 1.0
    return float(student_t.sf(mean / error, df=len(losses) - 1))
