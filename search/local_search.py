"""Local search with restarts: go to a better neighbour while there is one, then start elsewhere."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codegen.schedule.candidates import Candidates
from search.digests import digests, keep_new
from search.population import Population, measured_population, population_from_json
from search.protocols import SearcherState, Space
from search.random_search import draw_distinct, filled


@dataclass(frozen=True, kw_only=True)
class LocalSearchConfig:
    """``patience`` trials without a better one, or a neighbourhood without anything new, end a descent."""

    patience: int = 24

    def __post_init__(self) -> None:
        if self.patience < 1:
            raise ValueError(f"patience must be at least 1, got {self.patience}")


class LocalSearch:
    """First improvement: every trial is a neighbour of the best of the descent so far."""

    def __init__(self, space: Space, config: LocalSearchConfig) -> None:
        self._space = space
        self._config = config
        self._current: Population | None = None
        self._num_vain = 0

    def propose(self, num: int, measured: NDArray[np.void], rng: np.random.Generator) -> Candidates:
        if self._current is None or self._num_vain >= self._config.patience:
            self._restart()
            return draw_distinct(self._space, num, measured, rng)
        tries = np.zeros(16 * num, np.int64)
        neighbours = self._space.canonical(self._space.mutate(self._current.members[tries], rng))
        new = keep_new(neighbours, np.sort(digests(measured)))
        if num and not len(new):
            self._restart()
        return filled(self._space, new, num, measured, rng)

    def observe(
        self, candidates: Candidates, latencies_s: NDArray[np.float64], failed: NDArray[np.bool_]
    ) -> None:
        best = measured_population(candidates, latencies_s, failed).fittest(1)
        if not len(best) or best.fitness[0] == -np.inf:
            self._num_vain += len(candidates)
        elif self._current is None or best.fitness[0] > self._current.fitness[0]:
            self._current, self._num_vain = best, 0
        else:
            self._num_vain += len(candidates)

    def state(self) -> SearcherState:
        current = {} if self._current is None else self._current.to_json()
        return {"current": current, "num_vain": self._num_vain}

    def restore(self, state: SearcherState) -> None:
        current = state.get("current")
        self._current = population_from_json(current) if current else None
        self._num_vain = state.get("num_vain", 0)

    def _restart(self) -> None:
        self._current, self._num_vain = None, 0
