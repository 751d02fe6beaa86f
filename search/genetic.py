"""Genetic search: children of the best measured candidates, by crossover and mutation."""

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
class GeneticConfig:
    """``population`` parents; a child mutates with ``mutation_chance``, once more with its square.

    The chance is that of Ansor's evolutionary search (arXiv:2006.06762).
    """

    population: int = 20
    mutation_chance: float = 0.85
    tournament: int = 3

    def __post_init__(self) -> None:
        if self.population < 2 or self.tournament < 1:
            raise ValueError(
                f"population must be at least 2 and tournament 1, got {self.population}, {self.tournament}"
            )
        if not 0 <= self.mutation_chance < 1:
            raise ValueError(f"mutation_chance must be in [0, 1), got {self.mutation_chance}")


class GeneticSearch:
    """Parents win a tournament among the fittest; a child takes each knob from one parent or the other.

    Only pairs of one sketch mix; what breaks a constraint moves to the nearest point that does not.
    """

    def __init__(self, space: Space, config: GeneticConfig) -> None:
        self._space = space
        self._config = config
        self._parents: Population | None = None

    def propose(self, num: int, measured: NDArray[np.void], rng: np.random.Generator) -> Candidates:
        missing = self._config.population - (0 if self._parents is None else len(self._parents))
        if self._parents is None or missing > 0:
            return draw_distinct(self._space, num, measured, rng)
        taken = np.sort(digests(measured))
        children = self._children(2 * num, self._parents, rng)
        return filled(self._space, keep_new(children, taken), num, measured, rng)

    def observe(
        self, candidates: Candidates, latencies_s: NDArray[np.float64], failed: NDArray[np.bool_]
    ) -> None:
        found = measured_population(candidates, latencies_s, failed)
        joined = found if self._parents is None else self._parents.joined(found)
        self._parents = joined.fittest(self._config.population)

    def state(self) -> SearcherState:
        return {} if self._parents is None else self._parents.to_json()

    def restore(self, state: SearcherState) -> None:
        self._parents = population_from_json(state) if state else None

    def _children(self, num: int, parents: Population, rng: np.random.Generator) -> Candidates:
        entrants = rng.integers(len(parents), size=(2, num, self._config.tournament))
        first, second = entrants.min(axis=2)  # parents are sorted, so the least row is the fittest
        members = parents.members
        takes_first = rng.random((num, members.positions.shape[1])) < 0.5
        mixes = members.sketches[first] == members.sketches[second]
        takes_first |= ~mixes[:, None]
        positions = np.where(takes_first, members.positions[first], members.positions[second])
        children = self._space.nearest(members.sketches[first], positions.astype(np.float64))
        for chance in (self._config.mutation_chance, self._config.mutation_chance**2):
            mutated = self._space.mutate(children, rng)
            keeps = rng.random(num) >= chance
            children = Candidates(
                np.where(keeps, children.sketches, mutated.sketches),
                np.where(keeps[:, None], children.positions, mutated.positions),
            )
        return self._space.canonical(children)
