"""Random search without replacement: the baseline of every comparison, and its control arm."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from codegen.schedule.candidates import Candidates, concatenate
from search.digests import digests, keep_new
from search.protocols import SearcherState, Space

_NUM_ROUNDS = 16
_ENUMERATION_LIMIT = 65_536


class RandomSearch:
    """Draws kernels as ``space.sample`` does, each once."""

    def __init__(self, space: Space) -> None:
        self._space = space

    def propose(self, num: int, measured: NDArray[np.void], rng: np.random.Generator) -> Candidates:
        return draw_distinct(self._space, num, measured, rng)

    def observe(
        self, candidates: Candidates, latencies_s: NDArray[np.float64], failed: NDArray[np.bool_]
    ) -> None:
        """Outcomes change nothing."""

    def state(self) -> SearcherState:
        return {}

    def restore(self, state: SearcherState) -> None:
        """There is nothing to restore."""


def draw_distinct(space: Space, num: int, excluded: NDArray[np.void], rng: np.random.Generator) -> Candidates:
    """``num`` distinct canonical candidates at random, none with a key in ``excluded``.

    Samples and rejects; where that finds too few and the space is small enough to write down,
    shuffles what is left of it. So the end of a small space is reached, and every call ends.
    """
    taken = np.sort(digests(excluded))
    drawn = keep_new(space.canonical(space.sample(num + 1, rng)), taken)
    for _ in range(_NUM_ROUNDS):
        if len(drawn) >= num:
            return drawn[:num]
        more = space.canonical(space.sample(2 * (num - len(drawn)), rng))
        drawn = keep_new(concatenate([drawn, more]), taken)
    if len(drawn) < num and space.count() <= _ENUMERATION_LIMIT:
        rest = space.canonical(space.enumerate(_ENUMERATION_LIMIT))
        rest = rest[rng.permutation(len(rest))]
        drawn = keep_new(concatenate([drawn, rest]), taken)
    return drawn[:num]


def filled(
    space: Space, chosen: Candidates, num: int, measured: NDArray[np.void], rng: np.random.Generator
) -> Candidates:
    """The choices, at most ``num`` of them, and random ones beside them as long as the space has any."""
    chosen = chosen[:num]
    if len(chosen) == num:
        return chosen
    taken = np.concatenate([measured, chosen.keys()]) if len(measured) else chosen.keys()
    return concatenate([chosen, draw_distinct(space, num - len(chosen), taken, rng)])
