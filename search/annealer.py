"""Parallel simulated annealing: many chains in lockstep, guided by a cheap objective."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codegen.schedule.candidates import Candidates, concatenate
from search.digests import digests, distinct_rows
from search.encoding import candidates_from_json, candidates_to_json
from search.protocols import Objective, SearcherState, Space
from search.random_search import draw_distinct
from search.selection import select_diverse


@dataclass(frozen=True, kw_only=True)
class AnnealConfig:
    """Temperatures are in deviations of the scores seen in one anneal and fall linearly.

    Chains, steps, temperatures and patience are those of arXiv:1805.08166 and its code. Before a batch
    is selected, ``list_factor`` times as many candidates are gathered; ``coverage_weight`` is what a
    knob value new to the batch is worth, in deviations of their scores (0 takes the best as they are).
    """

    num_chains: int = 128
    num_steps: int = 500
    start_temperature: float = 1.0
    end_temperature: float = 0.0
    patience: int = 50
    list_factor: int = 3
    coverage_weight: float = 0.05

    def __post_init__(self) -> None:
        for name in ("num_chains", "num_steps", "patience", "list_factor"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 <= self.end_temperature <= self.start_temperature < float("inf"):
            raise ValueError(
                "need 0 <= end_temperature <= start_temperature, got "
                f"{self.end_temperature} and {self.start_temperature}"
            )
        if not 0 <= self.coverage_weight < float("inf"):
            raise ValueError(f"coverage_weight must not be negative, got {self.coverage_weight}")


@dataclass(frozen=True)
class AnnealState:
    """Where the chains stand; a later anneal, under refitted scores, starts from there."""

    chains: Candidates


@dataclass(frozen=True)
class AnnealResult:
    """Distinct canonical candidates, best first, their scores, and where the chains ended."""

    candidates: Candidates
    scores: NDArray[np.float64]
    state: AnnealState
    num_steps: int


class Annealer:
    """The annealer as a searcher: anneal, then select a diverse batch from the best seen."""

    def __init__(self, space: Space, objective: Objective, config: AnnealConfig) -> None:
        self._space = space
        self._objective = objective
        self._config = config
        self._state: AnnealState | None = None

    def propose(self, num: int, measured: NDArray[np.void], rng: np.random.Generator) -> Candidates:
        num_listed = max(num, 1) * self._config.list_factor
        found = anneal(self._space, self._objective, self._config, self._state, measured, num_listed, rng)
        self._state = found.state
        picks = select_diverse(found.candidates, found.scores, num, self._config.coverage_weight)
        chosen = found.candidates[picks]
        if len(chosen) == num:
            return chosen
        # The chains may be caught where everything is measured while the rest of the space is not.
        taken = np.concatenate([measured, chosen.keys()]) if len(measured) else chosen.keys()
        return concatenate([chosen, draw_distinct(self._space, num - len(chosen), taken, rng)])

    def observe(
        self, candidates: Candidates, latencies_s: NDArray[np.float64], failed: NDArray[np.bool_]
    ) -> None:
        """Outcomes reach the chains through the refitted objective."""

    def state(self) -> SearcherState:
        return {} if self._state is None else {"chains": candidates_to_json(self._state.chains)}

    def restore(self, state: SearcherState) -> None:
        self._state = AnnealState(candidates_from_json(state["chains"])) if state else None


def anneal(
    space: Space,
    objective: Objective,
    config: AnnealConfig,
    state: AnnealState | None,
    excluded: NDArray[np.void],
    num: int,
    rng: np.random.Generator,
) -> AnnealResult:
    """The ``num`` best distinct candidates that the chains come by, none with a key in ``excluded``.

    arXiv:1805.08166 section 3.3: one neighbour for every chain and one batched score a step, accepted by
    the rule of Metropolis. Ours divides score differences by the running deviation of all scores
    of the anneal, so the temperatures suit any model. Stops early when the best set stood still
    for ``config.patience`` steps. Fewer than ``num`` come back if the chains saw no more.
    """
    if state is not None and len(state.chains) == config.num_chains:
        chains = state.chains
    else:
        chains = space.sample(config.num_chains, rng)
    scores = _rankable(objective.score(chains))
    spread = _Spread()
    spread.add(scores)
    best = _BestSet(space, num, excluded, chains[:0])
    best.merge(chains, scores)
    cooling = (config.start_temperature - config.end_temperature) / config.num_steps
    last_change = step = 0
    for step in range(1, config.num_steps + 1):
        temperature = config.start_temperature - cooling * step
        proposals = space.mutate(chains, rng)
        new_scores = _rankable(objective.score(proposals))
        spread.add(new_scores)
        accepted = _accept(scores, new_scores, temperature * spread.deviation(), rng)
        chains = _choose(accepted, proposals, chains)
        scores = np.where(accepted, new_scores, scores)
        if best.merge(proposals, new_scores):
            last_change = step
        elif step - last_change >= config.patience:
            break
    return AnnealResult(best.candidates, best.scores, AnnealState(chains), step)


def _rankable(scores: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Scores as float64 in which everything that is not finite ranks below all that is."""
    wide = np.asarray(scores, dtype=np.float64)
    return np.where(np.isfinite(wide), wide, -np.inf)


def _accept(
    scores: NDArray[np.float64],
    new_scores: NDArray[np.float64],
    temperature: float,
    rng: np.random.Generator,
) -> NDArray[np.bool_]:
    """Metropolis: always what is no worse, else with the chance exp(loss / temperature)."""
    draws = rng.random(len(scores))
    is_no_worse = new_scores >= scores
    if temperature <= 0:
        return is_no_worse
    with np.errstate(invalid="ignore", over="ignore"):  # -inf minus -inf, settled by is_no_worse
        chances = np.exp(np.minimum(new_scores - scores, 0.0) / temperature)
    return is_no_worse | (draws < chances)


def _choose(accepted: NDArray[np.bool_], proposals: Candidates, chains: Candidates) -> Candidates:
    return Candidates(
        np.where(accepted, proposals.sketches, chains.sketches),
        np.where(accepted[:, None], proposals.positions, chains.positions),
    )


class _Spread:
    """Running deviation of finite scores (Chan et al. 1979: no cancellation for a large mean)."""

    def __init__(self) -> None:
        self._num = 0
        self._mean = 0.0
        self._squares = 0.0

    def add(self, scores: NDArray[np.float64]) -> None:
        known = scores[scores > -np.inf]
        if len(known) == 0:
            return
        mean = float(known.mean())
        total = self._num + len(known)
        shift = mean - self._mean
        self._squares += float(((known - mean) ** 2).sum()) + shift**2 * self._num * len(known) / total
        self._mean += shift * len(known) / total
        self._num = total

    def deviation(self) -> float:
        return float(np.sqrt(self._squares / self._num)) if self._num else 0.0


class _BestSet:
    """The best distinct candidates met so far, best first, at most ``size`` of them."""

    def __init__(self, space: Space, size: int, excluded: NDArray[np.void], empty: Candidates) -> None:
        self._space = space
        self._size = size
        self._excluded = np.sort(digests(excluded))
        self._digests = np.empty(0, np.uint64)
        self.scores = np.empty(0)
        self.candidates = empty

    def merge(self, candidates: Candidates, scores: NDArray[np.float64]) -> bool:
        """Take in what belongs among the best; whether anything did."""
        if len(self.scores) == self._size:
            rows = np.flatnonzero(scores > self.scores[-1])
            if len(rows) == 0:
                return False
            candidates, scores = candidates[rows], scores[rows]
        candidates = self._space.canonical(candidates)
        values = digests(candidates.keys())
        new = distinct_rows(values, self._excluded)
        new = new[~np.isin(values[new], self._digests)]
        if len(new) == 0:
            return False
        all_scores = np.concatenate([self.scores, scores[new]])
        order = np.argsort(-all_scores, kind="stable")[: self._size]
        self.scores = all_scores[order]
        self._digests = np.concatenate([self._digests, values[new]])[order]
        self.candidates = concatenate([self.candidates, candidates[new]])[order]
        return True
