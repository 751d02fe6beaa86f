"""What to measure next, as a function of a seed and of what was measured before.

Because a round depends on nothing else, a collection that was interrupted plans the same again.
"""

from __future__ import annotations

from collections.abc import Callable, Set
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from codegen.schedule.candidates import Candidates, concatenate
from datasets.record import Source, candidate_key

_OVERSAMPLING = 2  # candidates drawn per candidate wanted; the rest is mostly known already
_MAX_DRAWS = 8  # each draws twice as many as the one before, so a small space is exhausted


class Space(Protocol):
    """All candidates of one program on one target."""

    def sample(self, num: int, rng: np.random.Generator, /) -> Candidates:
        """``num`` points, with repetition."""

    def mutate(self, candidates: Candidates, rng: np.random.Generator, /) -> Candidates:
        """One neighbour of each candidate, row by row."""

    def canonical(self, candidates: Candidates, /) -> Candidates:
        """The same kernels, in the same order, such that equal kernels have equal rows."""

    def named(self, candidates: Candidates, row: int, /) -> dict[str, Any]:
        """One candidate as ``{"sketch": name, "knobs": {name: value}}``."""


class Proposer(Protocol):
    """A search that knows nothing of the measurements: what it proposes depends on its generators alone."""

    def propose(self, num: int, measured: NDArray[np.void], rng: np.random.Generator, /) -> Candidates:
        """Up to ``num`` distinct canonical candidates whose keys are not in ``measured``, best first."""


@dataclass(frozen=True, kw_only=True)
class CollectConfig:
    """How the trials of each task are divided; shares are of all trials of a task.

    A set of random schedules says little about good ones: mutants of the fastest ``num_parents`` candidates
    and what a search proposes bring records from where a search ends up. The repeats tell how well any model
    can do (the noise ceiling), the rest is drawn at random.
    """

    seed: int = 0
    num_trials: int = 384
    round_size: int = 32
    mutated_share: float = 0.3
    search_share: float = 0.25
    repeat_share: float = 0.05
    num_parents: int = 16

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ValueError(f"seed must not be negative, got {self.seed}")
        for name in ("num_trials", "round_size", "num_parents"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        shares = (self.mutated_share, self.search_share, self.repeat_share)
        if min(shares) < 0 or sum(shares) > 1:
            raise ValueError(
                "mutated_share, search_share and repeat_share must lie in [0, 1] and add up to 1 at most, "
                f"got {', '.join(map(str, shares))}"
            )


@dataclass(frozen=True, eq=False)
class History:
    """The M trials of a task so far; ``latency_s`` is NaN for failures."""

    candidates: Candidates
    latency_s: NDArray[np.float64]
    is_repeat: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.latency_s)


@dataclass(frozen=True, eq=False)
class Round:
    """Candidates to measure, each with the reason; empty when the space has nothing new."""

    candidates: Candidates
    sources: tuple[Source, ...]


def no_history(space: Space) -> History:
    """Before the first round."""
    return History(_nothing(space), np.zeros(0), np.zeros(0, dtype=bool))


def extend(history: History, planned: Round, latency_s: NDArray[np.float64]) -> History:
    """After another round."""
    return History(
        concatenate([history.candidates, planned.candidates]),
        np.concatenate([history.latency_s, latency_s]),
        np.concatenate(
            [history.is_repeat, np.array([source == "repeat" for source in planned.sources], bool)]
        ),
    )


def plain_candidate(space: Space, candidates: Candidates, row: int) -> dict[str, Any]:
    """``space.named`` with plain ints, as jobs and records want them."""
    named = space.named(candidates, row)
    knobs = {str(name): int(value) for name, value in named["knobs"].items()}
    return {"sketch": str(named["sketch"]), "knobs": knobs}


def plan_round(
    space: Space,
    history: History,
    known: Set[str],
    rng: np.random.Generator,
    config: CollectConfig,
    proposer: Proposer | None = None,
) -> Round:
    """The next trials: new candidates, and repeats of candidates from earlier rounds.

    A whole round is planned and then cut to what the budget leaves, so that a larger budget goes on with
    the same candidates.

    Args:
        space: where candidates come from.
        history: all trials of earlier rounds.
        known: ``candidate_key`` of what others have measured; it is not measured again.
        rng: of this round alone.
        config: sizes and shares.
        proposer: the search; random candidates take the place of what it does not propose.
    """
    num = config.round_size
    repeats = _repeats(history, int(config.repeat_share * (len(history) + num)), num, rng)
    num_new = num - len(repeats)
    mutants = _mutants(space, history, known, min(round(config.mutated_share * num), num_new), rng, config)
    seen = concatenate([history.candidates, mutants])
    num_found = min(round(config.search_share * num), num_new - len(mutants)) if proposer else 0
    found = _found(space, proposer, seen, known, num_found, rng)

    def draw(count: int) -> Candidates:
        return space.sample(count, rng)

    seen = concatenate([seen, found])
    randoms = _unseen(space, draw, seen.keys(), known, num_new - len(mutants) - len(found))
    if len(mutants) + len(found) + len(randoms) == 0:
        return Round(randoms, ())
    parts: list[tuple[Source, Candidates]] = [
        ("repeat", repeats),
        ("mutated", mutants),
        ("search", found),
        ("random", randoms),
    ]
    sources = [source for source, part in parts for _ in range(len(part))]
    order = rng.permutation(len(sources))[: config.num_trials - len(history)]
    everything = concatenate([part for _, part in parts])
    return Round(everything[order], tuple(sources[position] for position in order))


def _repeats(history: History, total: int, most: int, rng: np.random.Generator) -> Candidates:
    """Enough candidates to have ``total`` repeats, none repeated twice, any latency equally likely."""
    succeeded = ~np.isnan(history.latency_s) & ~history.is_repeat
    repeated = np.isin(history.candidates.keys(), history.candidates[history.is_repeat].keys())
    eligible = np.flatnonzero(succeeded & ~repeated)
    num = max(0, min(total - int(history.is_repeat.sum()), most, len(eligible)))
    return history.candidates[rng.choice(eligible, num, replace=False)]


def _mutants(
    space: Space,
    history: History,
    known: Set[str],
    num: int,
    rng: np.random.Generator,
    config: CollectConfig,
) -> Candidates:
    usable = np.flatnonzero(~np.isnan(history.latency_s) & ~history.is_repeat)
    if not len(usable):
        num = 0
    # Early on the fastest few of all are few indeed: at most a quarter may have offspring.
    num_parents = min(config.num_parents, -(-len(usable) // 4))
    fastest = usable[np.argsort(history.latency_s[usable], kind="stable")[:num_parents]]

    def draw(count: int) -> Candidates:
        children = history.candidates[rng.choice(fastest, count)]
        # One to three moves, so that records lie at several distances from the fastest candidates.
        for _ in range(int(rng.integers(1, 4))):
            children = space.mutate(children, rng)
        return children

    return _unseen(space, draw, history.candidates.keys(), known, num)


def _found(
    space: Space,
    proposer: Proposer | None,
    seen: Candidates,
    known: Set[str],
    num: int,
    rng: np.random.Generator,
) -> Candidates:
    if proposer is None or num == 0:
        return _nothing(space)
    return _without_known(space, proposer.propose(num, seen.keys(), rng), known, num)


def _unseen(
    space: Space, draw: Callable[[int], Candidates], seen: NDArray[np.void], known: Set[str], num: int
) -> Candidates:
    """Up to ``num`` distinct canonical candidates that are neither seen nor known."""
    found = _nothing(space)
    for attempt in range(_MAX_DRAWS):
        if len(found) >= num:
            break
        drawn = space.canonical(draw(_OVERSAMPLING * num << attempt))
        keys = drawn.keys()
        _, first = np.unique(keys, return_index=True)
        is_new = np.zeros(len(drawn), dtype=bool)
        is_new[first] = True
        is_new &= ~np.isin(keys, seen) & ~np.isin(keys, found.keys())
        found = concatenate([found, _without_known(space, drawn[is_new], known, num - len(found))])
    return found


def _without_known(space: Space, candidates: Candidates, known: Set[str], num: int) -> Candidates:
    """The first ``num`` candidates that are not known."""
    if known:
        rows = (
            row
            for row in range(len(candidates))
            if candidate_key(**plain_candidate(space, candidates, row)) not in known
        )
        candidates = candidates[np.fromiter(islice(rows, num), dtype=np.int64)]
    return candidates[:num]


def _nothing(space: Space) -> Candidates:
    """No candidates, in arrays as wide as the space needs them."""
    return space.sample(1, np.random.default_rng(0))[:0]
