"""Any search with a model in the loop: it searches under the model's scores; the best seen is measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codegen.schedule.candidates import Candidates, concatenate
from search.best_set import BestSet, rankable
from search.encoding import candidates_from_json, candidates_to_json
from search.protocols import Objective, Searcher, SearcherState, Space
from search.random_search import filled
from search.selection import select_diverse


@dataclass(frozen=True, kw_only=True)
class GuidedConfig:
    """Rounds of ``round_size`` scored candidates between two plans; selection as in ``AnnealConfig``.

    The defaults are the four generations of 2,048 of Ansor's evolutionary search (arXiv:2006.06762).
    """

    num_rounds: int = 4
    round_size: int = 2_048
    list_factor: int = 3
    coverage_weight: float = 0.05

    def __post_init__(self) -> None:
        if min(self.num_rounds, self.round_size, self.list_factor) < 1:
            raise ValueError(f"num_rounds, round_size and list_factor must be at least 1, got {self}")
        if not 0 <= self.coverage_weight < float("inf"):
            raise ValueError(f"coverage_weight must not be negative, got {self.coverage_weight}")


class GuidedSearch:
    """Starts a new inner search for each plan, from the best under the model that the last one left."""

    def __init__(
        self, space: Space, objective: Objective, make_inner: Callable[[], Searcher], config: GuidedConfig
    ) -> None:
        self._space = space
        self._objective = objective
        self._make_inner = make_inner
        self._config = config
        self._start: Candidates | None = None

    def propose(self, num: int, measured: NDArray[np.void], rng: np.random.Generator) -> Candidates:
        inner, config = self._make_inner(), self._config
        listed = max(num, 1) * config.list_factor
        batch = self._space.canonical(self._space.sample(config.round_size, rng))
        if self._start is not None:
            batch = concatenate([self._start, batch])
        best = BestSet(self._space, listed, measured, batch[:0])
        seen = np.unique(batch.keys())
        for left in reversed(range(config.num_rounds)):
            scores = rankable(self._objective.score(batch))
            best.merge(batch, scores)
            if left:
                inner.observe(batch, -scores, ~np.isfinite(scores))
                batch = inner.propose(config.round_size, seen, rng)
                seen = np.unique(np.concatenate([seen, batch.keys()]))
            if not len(batch):
                break
        self._start = best.candidates
        picks = select_diverse(best.candidates, best.scores, num, config.coverage_weight)
        return filled(self._space, best.candidates[picks], num, measured, rng)

    def observe(
        self, candidates: Candidates, latencies_s: NDArray[np.float64], failed: NDArray[np.bool_]
    ) -> None:
        """Outcomes reach the search through the refitted objective."""

    def state(self) -> SearcherState:
        return {} if self._start is None else {"start": candidates_to_json(self._start)}

    def restore(self, state: SearcherState) -> None:
        self._start = candidates_from_json(state["start"]) if state else None
