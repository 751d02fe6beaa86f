"""One plan: which candidates are measured next, and which of them the searcher did not choose."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from codegen.schedule.candidates import Candidates, concatenate
from search.protocols import Searcher, Space
from search.random_search import draw_distinct

Arm: TypeAlias = Literal["search", "random", "sketch", "epsilon", "control"]
"""``search``: the searcher's choice. ``random``: in its place while the model knows nothing.
``sketch``: the searcher's first choice carried over to a sketch without any trial. ``epsilon``:
exploration that belongs to the method. ``control``: random trials beside the method, which show what
random search finds in the same run."""


@dataclass(frozen=True, kw_only=True)
class PlanConfig:
    """Trials between two refits, and the shares of them (in [0, 1]) that are drawn at random.

    At most ``sketch_share`` of the searcher's part goes to sketches that no trial belongs to: a model may
    know nothing of a sketch that its training data did not have. With ``is_ahead`` a plan is made while the
    one before is measured, so the model does not know the outcomes of that one yet.
    """

    num_trials: int = 64
    epsilon: float = 0.05
    control_share: float = 0.0
    sketch_share: float = 0.0
    is_ahead: bool = False

    def __post_init__(self) -> None:
        if self.num_trials < 1:
            raise ValueError(f"num_trials of a plan must be at least 1, got {self.num_trials}")
        if min(self.epsilon, self.control_share) < 0 or self.epsilon + self.control_share > 1:
            raise ValueError(
                "epsilon and control_share must not be negative nor exceed 1 together, got "
                f"{self.epsilon} and {self.control_share}"
            )
        if not 0 <= self.sketch_share <= 1:
            raise ValueError(f"sketch_share must be in [0, 1], got {self.sketch_share}")


@dataclass(frozen=True)
class Plan:
    """Candidates in the order of measurement, with the arm each belongs to."""

    candidates: Candidates
    arms: tuple[Arm, ...]


def make_plan(
    space: Space,
    searcher: Searcher,
    is_informed: bool,
    config: PlanConfig,
    num: int,
    measured: Candidates,
    rng: np.random.Generator,
) -> Plan:
    """``num`` distinct unmeasured candidates, or all that are left; none at the end of the space.

    Shares are kept over the whole run, not rounded in every plan. Unless ``is_informed`` the
    searcher's part is drawn at random. Arms are spread evenly over the plan, so the best-so-far of
    each may be compared at any trial.
    """
    num_epsilon = _share(config.epsilon, len(measured), num)
    num_control = _share(config.control_share, len(measured), num)
    num_chosen = num - num_epsilon - num_control
    taken = measured.keys()
    if is_informed and num_chosen:
        chosen = searcher.propose(num_chosen, taken, rng)
        limit = math.floor(config.sketch_share * num_chosen)
    else:
        chosen, limit = draw_distinct(space, num_chosen, taken, rng), 0
    untried = _untried_sketches(space, chosen, measured, limit, rng)
    chosen = chosen[: min(len(chosen), num_chosen - len(untried))]
    taken = np.concatenate([taken, chosen.keys(), untried.keys()])
    explored = draw_distinct(space, num_epsilon, taken, rng)
    taken = np.concatenate([taken, explored.keys()])
    control = draw_distinct(space, num_control, taken, rng)
    return _interleave(
        [
            ("search" if is_informed else "random", chosen),
            ("sketch", untried),
            ("epsilon", explored),
            ("control", control),
        ]
    )


def _untried_sketches(
    space: Space, chosen: Candidates, measured: Candidates, limit: int, rng: np.random.Generator
) -> Candidates:
    """The choices' counterparts in at most ``limit`` sketches that neither choices nor trials have."""
    if not limit or not len(chosen):
        return chosen[:0]
    found = space.canonical(space.counterparts(chosen, rng))
    tried = np.concatenate([chosen.sketches, measured.sketches])
    return found[~np.isin(found.sketches, tried)][:limit]


def _share(share: float, num_done: int, num: int) -> int:
    """How many of the next ``num`` trials, so that rounding never drifts from ``share`` of all."""
    return math.floor(share * (num_done + num)) - math.floor(share * num_done)


def _interleave(parts: Sequence[tuple[Arm, Candidates]]) -> Plan:
    places: NDArray[np.float64] = np.concatenate(
        [(np.arange(len(part)) + 0.5) / max(len(part), 1) for _, part in parts]
    )
    order = np.argsort(places, kind="stable")
    arms = [arm for arm, part in parts for _ in range(len(part))]
    return Plan(concatenate([part for _, part in parts])[order], tuple(arms[row] for row in order))
