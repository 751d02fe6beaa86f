"""Parallel simulated annealing: many chains in lockstep, guided by a cheap objective."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codegen.schedule.candidates import Candidates
from search.best_set import BestSet, rankable
from search.encoding import candidates_from_json, candidates_to_json
from search.protocols import Objective, SearcherState, Space
from search.random_search import filled
from search.selection import select_diverse


@dataclass(frozen=True, kw_only=True)
class AnnealConfig:
    """Temperatures are in deviations of the scores seen in one anneal and fall linearly.

    Chains, steps, temperatures and patience are those of arXiv:1805.08166 and its code. Before a batch
    is selected, ``list_factor`` times as many candidates are gathered; ``coverage_weight`` is what a
    knob value new to the batch is worth, in deviations of their scores (0 takes the best as they are).
    A space of at most ``rank_whole_limit`` points is scored whole in place of an anneal.
    """

    num_chains: int = 128
    num_steps: int = 500
    start_temperature: float = 1.0
    end_temperature: float = 0.0
    patience: int = 50
    list_factor: int = 3
    coverage_weight: float = 0.05
    rank_whole_limit: int = 0

    def __post_init__(self) -> None:
        for name in ("num_chains", "num_steps", "patience", "list_factor"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 <= self.end_temperature <= self.start_temperature < float("inf"):
            raise ValueError(
                "need 0 <= end_temperature <= start_temperature, got "
                f"{self.end_temperature} and {self.start_temperature}"
            )
        if self.rank_whole_limit < 0:
            raise ValueError(f"rank_whole_limit must not be negative, got {self.rank_whole_limit}")
        if not 0 <= self.coverage_weight < float("inf"):
            raise ValueError(f"coverage_weight must not be negative, got {self.coverage_weight}")


@dataclass(frozen=True)
class AnnealState:
    """Where the chains stand; a later anneal, under refitted scores, starts from there."""

    chains: Candidates


@dataclass(frozen=True)
class AnnealResult:
    """Distinct canonical candidates, best first, with their scores, and where the chains ended."""

    best: BestSet
    state: AnnealState
    num_steps: int

    @property
    def candidates(self) -> Candidates:
        return self.best.candidates

    @property
    def scores(self) -> NDArray[np.float64]:
        return self.best.scores


class Annealer:
    """The annealer as a searcher: anneal, then select a diverse batch from the best seen."""

    def __init__(self, space: Space, objective: Objective, config: AnnealConfig) -> None:
        self._space = space
        self._objective = objective
        self._config = config
        self._state: AnnealState | None = None

    def propose(self, num: int, measured: NDArray[np.void], rng: np.random.Generator) -> Candidates:
        num_listed = max(num, 1) * self._config.list_factor
        if self._space.count() <= self._config.rank_whole_limit:
            best = rank_whole(self._space, self._objective, measured, num_listed)
        else:
            found = anneal(self._space, self._objective, self._config, self._state, measured, num_listed, rng)
            self._state, best = found.state, found.best
        picks = select_diverse(best.candidates, best.scores, num, self._config.coverage_weight)
        # The chains may be caught where everything is measured while the rest of the space is not.
        return filled(self._space, best.candidates[picks], num, measured, rng)

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
    scores = rankable(objective.score(chains))
    spread = _Spread()
    spread.add(scores)
    best = BestSet(space, num, excluded, chains[:0])
    best.merge(chains, scores)
    cooling = (config.start_temperature - config.end_temperature) / config.num_steps
    last_change = step = 0
    for step in range(1, config.num_steps + 1):
        temperature = config.start_temperature - cooling * step
        proposals = space.mutate(chains, rng)
        new_scores = rankable(objective.score(proposals))
        spread.add(new_scores)
        accepted = _accept(scores, new_scores, temperature * spread.deviation(), rng)
        chains = _choose(accepted, proposals, chains)
        scores = np.where(accepted, new_scores, scores)
        if best.merge(proposals, new_scores):
            last_change = step
        elif step - last_change >= config.patience:
            break
    return AnnealResult(best, AnnealState(chains), step)


def rank_whole(space: Space, objective: Objective, excluded: NDArray[np.void], num: int) -> BestSet:
    """The ``num`` best candidates of a space that is small enough to score every one of them."""
    points = space.enumerate(space.count())
    scores = rankable(objective.score(points))
    best = BestSet(space, num, excluded, points[:0])
    step = num + len(excluded)  # without equal kernels that many are enough
    if step < len(scores):
        rows = np.sort(np.argpartition(-scores, step)[:step])
        best.merge(points[rows], scores[rows])
    if len(best.scores) < num:
        best.merge(points, scores)
    return best


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
