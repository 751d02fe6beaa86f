"""Searches whose every proposal competes with one member of a population: whom an outcome is for."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from codegen.schedule.candidates import Candidates, concatenate
from search.digests import digests
from search.population import Population, measured_population, population_from_json
from search.protocols import SearcherState


class Slots:
    """A population that is filled as outcomes come in, and the slot that each proposal is meant for."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.population: Population | None = None
        self._pending: dict[int, int] = {}

    @property
    def is_full(self) -> bool:
        return self.population is not None and len(self.population) == self.size

    def expect(self, candidates: Candidates, slots: NDArray[np.int64]) -> None:
        """Remember which slot each candidate is for; earlier ones are forgotten."""
        self._pending = dict(zip(digests(candidates.keys()).tolist(), slots.tolist()))

    def outcomes(
        self, candidates: Candidates, latencies_s: NDArray[np.float64], failed: NDArray[np.bool_]
    ) -> list[tuple[int, Population]]:
        """Slot and newcomer, one by one, while the population is full; before that newcomers fill it.

        What nobody expected (trials of another arm) is for the slot that is worst now.
        """
        found = measured_population(candidates, latencies_s, failed)
        claims = []
        for row, digest in enumerate(digests(candidates.keys()).tolist()):
            newcomer = Population(found.members[row : row + 1], found.fitness[row : row + 1])
            if self.population is None:
                self.population = newcomer
            elif not self.is_full:
                self.population = self.population.joined(newcomer)
            else:
                worst = int(np.argmin(self.population.fitness))
                claims.append((self._pending.get(digest, worst), newcomer))
        return claims

    def replace(self, slot: int, newcomer: Population) -> None:
        """Put the newcomer in the place of a member."""
        assert self.population is not None
        members, fitness = self.population.members, self.population.fitness.copy()
        fitness[slot] = newcomer.fitness[0]
        parts = [members[:slot], newcomer.members, members[slot + 1 :]]
        self.population = Population(concatenate(parts), fitness)

    def to_json(self) -> SearcherState:
        population = {} if self.population is None else self.population.to_json()
        return {"population": population, "pending": [[str(k), v] for k, v in self._pending.items()]}

    def restore(self, state: SearcherState) -> None:
        known = state.get("population")
        self.population = population_from_json(known) if known else None
        self._pending = {int(digest): slot for digest, slot in state.get("pending", [])}
