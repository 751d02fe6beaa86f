"""Simulated annealing on measurements themselves, without a model: a baseline."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codegen.schedule.candidates import Candidates
from search.digests import digests, is_member
from search.protocols import SearcherState, Space
from search.random_search import draw_distinct, filled
from search.slots import Slots

_TRIES = 8


@dataclass(frozen=True, kw_only=True)
class MeasuredAnnealingConfig:
    """Temperatures are shares of the best latency; they fall geometrically over ``horizon`` trials."""

    num_chains: int = 4
    start_temperature: float = 0.5
    end_temperature: float = 0.005
    horizon: int = 200

    def __post_init__(self) -> None:
        if self.num_chains < 1 or self.horizon < 1:
            raise ValueError(
                f"num_chains and horizon must be at least 1, got {self.num_chains}, {self.horizon}"
            )
        if not 0 < self.end_temperature <= self.start_temperature < float("inf"):
            raise ValueError(
                "need 0 < end_temperature <= start_temperature, got "
                f"{self.end_temperature} and {self.start_temperature}"
            )


class MeasuredAnnealing:
    """Each chain proposes an unmeasured neighbour of where it stands; Metropolis decides on the outcome."""

    def __init__(self, space: Space, config: MeasuredAnnealingConfig) -> None:
        self._space = space
        self._config = config
        self._slots = Slots(config.num_chains)
        self._num_observed = 0
        self._draws = np.random.default_rng(0)

    def propose(self, num: int, measured: NDArray[np.void], rng: np.random.Generator) -> Candidates:
        if not self._slots.is_full or not num:
            return draw_distinct(self._space, num, measured, rng)
        self._draws = np.random.default_rng(rng.integers(2**32))
        assert self._slots.population is not None
        chains = np.resize(rng.permutation(self._config.num_chains), _TRIES * num)
        moves = self._space.canonical(self._space.mutate(self._slots.population.members[chains], rng))
        values = digests(moves.keys())
        first = np.sort(np.unique(values, return_index=True)[1])
        new = first[~is_member(values[first], np.sort(digests(measured)))][:num]
        self._slots.expect(moves[new], chains[new])
        return filled(self._space, moves[new], num, measured, rng)

    def observe(
        self, candidates: Candidates, latencies_s: NDArray[np.float64], failed: NDArray[np.bool_]
    ) -> None:
        self._num_observed += len(candidates)
        for slot, newcomer in self._slots.outcomes(candidates, latencies_s, failed):
            if self._accepts(slot, float(newcomer.fitness[0])):
                self._slots.replace(slot, newcomer)

    def state(self) -> SearcherState:
        draws = dict(self._draws.bit_generator.state)
        return {"slots": self._slots.to_json(), "num_observed": self._num_observed, "draws": draws}

    def restore(self, state: SearcherState) -> None:
        self._slots.restore(state.get("slots", {}))
        self._num_observed = state.get("num_observed", 0)
        if "draws" in state:
            self._draws.bit_generator.state = state["draws"]

    def _accepts(self, slot: int, fitness: float) -> bool:
        assert self._slots.population is not None
        present = float(self._slots.population.fitness[slot])
        if fitness >= present:
            return True
        config = self._config
        progress = min(self._num_observed / config.horizon, 1.0)
        temperature = (
            config.start_temperature * (config.end_temperature / config.start_temperature) ** progress
        )
        scale = temperature * abs(float(self._slots.population.fitness.max()))
        if scale == 0 or fitness == -np.inf:
            return False
        return bool(self._draws.random() < np.exp((fitness - present) / scale))
