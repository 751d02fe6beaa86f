"""Measured candidates that a search goes on from, and their fitness: minus the latency, -inf for failures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codegen.schedule.candidates import Candidates, concatenate
from search.encoding import candidates_from_json, candidates_to_json
from search.protocols import SearcherState


@dataclass(frozen=True)
class Population:
    """Members in rows; ``fitness`` (N,), higher is better."""

    members: Candidates
    fitness: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.members)

    def joined(self, others: Population) -> Population:
        """Both, in order."""
        return Population(
            concatenate([self.members, others.members]), np.concatenate([self.fitness, others.fitness])
        )

    def fittest(self, num: int) -> Population:
        """The ``num`` best, best first; of equals the earlier."""
        order = np.argsort(-self.fitness, kind="stable")[:num]
        return Population(self.members[order], self.fitness[order])

    def to_json(self) -> SearcherState:
        """Plain values; what failed has the fitness None."""
        fitness = [value if np.isfinite(value) else None for value in self.fitness.tolist()]
        return {"members": candidates_to_json(self.members), "fitness": fitness}


def measured_population(
    candidates: Candidates, latencies_s: NDArray[np.float64], failed: NDArray[np.bool_]
) -> Population:
    """What ``Searcher.observe`` is told, as a population."""
    fine = ~failed & np.isfinite(latencies_s)
    return Population(candidates, np.where(fine, -latencies_s, -np.inf))


def population_from_json(state: SearcherState) -> Population:
    """The inverse of ``Population.to_json``."""
    fitness = [-np.inf if value is None else value for value in state["fitness"]]
    return Population(candidates_from_json(state["members"]), np.array(fitness, np.float64))
