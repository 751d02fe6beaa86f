"""Differential evolution (Storn and Price 1997) on the positions of knob values."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codegen.schedule.candidates import Candidates
from search.digests import digests, is_member
from search.protocols import SearcherState, Space
from search.random_search import draw_distinct, filled
from search.slots import Slots


@dataclass(frozen=True, kw_only=True)
class DifferentialEvolutionConfig:
    """Strategy best/1/bin: ``weight`` of the difference, ``crossover`` chance of each knob to change."""

    population: int = 20
    weight: float = 0.7
    crossover: float = 0.7

    def __post_init__(self) -> None:
        if self.population < 4:
            raise ValueError(f"population must be at least 4, got {self.population}")
        if not self.weight > 0 or not 0 < self.crossover <= 1:
            raise ValueError(
                f"weight must be positive and crossover in (0, 1], got {self.weight} and {self.crossover}"
            )


class DifferentialEvolution:
    """Each trial vector competes with one member; what breaks a constraint goes to the nearest point."""

    def __init__(self, space: Space, config: DifferentialEvolutionConfig) -> None:
        self._space = space
        self._config = config
        self._slots = Slots(config.population)

    def propose(self, num: int, measured: NDArray[np.void], rng: np.random.Generator) -> Candidates:
        if not self._slots.is_full or not num:
            return draw_distinct(self._space, num, measured, rng)
        slots = np.resize(rng.permutation(self._config.population), 2 * num)
        trials = self._trials(slots, rng)
        values = digests(trials.keys())
        first = np.sort(np.unique(values, return_index=True)[1])
        new = first[~is_member(values[first], np.sort(digests(measured)))][:num]
        self._slots.expect(trials[new], slots[new])
        return filled(self._space, trials[new], num, measured, rng)

    def observe(
        self, candidates: Candidates, latencies_s: NDArray[np.float64], failed: NDArray[np.bool_]
    ) -> None:
        for slot, newcomer in self._slots.outcomes(candidates, latencies_s, failed):
            assert self._slots.population is not None
            if newcomer.fitness[0] >= self._slots.population.fitness[slot]:
                self._slots.replace(slot, newcomer)

    def state(self) -> SearcherState:
        return self._slots.to_json()

    def restore(self, state: SearcherState) -> None:
        self._slots.restore(state)

    def _trials(self, slots: NDArray[np.int64], rng: np.random.Generator) -> Candidates:
        population = self._slots.population
        assert population is not None
        members = population.members
        best = int(np.argmax(population.fitness))
        second, third = rng.integers(len(members), size=(2, len(slots)))
        difference = members.positions[second] - members.positions[third]
        mutant = members.positions[best] + self._config.weight * difference
        # Two thirds of a step are lost when rounded alike each time; a fraction is the chance to go on.
        mutant = np.floor(mutant + rng.random(mutant.shape))
        changes = rng.random(mutant.shape) < self._config.crossover
        changes[np.arange(len(slots)), rng.integers(mutant.shape[1], size=len(slots))] = True
        # Positions of different sketches mean different things: the mutant lives in the sketch of the best.
        own = members.sketches[slots] == members.sketches[best]
        positions = np.where(changes | ~own[:, None], mutant, members.positions[slots])
        sketches = np.full(len(slots), members.sketches[best])
        return self._space.canonical(self._space.nearest(sketches, positions))
