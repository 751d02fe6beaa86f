"""What search asks of its surroundings: a space to move in, something that ranks, something that measures.

Learned models, recorded tables and real machines meet here, so ``search`` imports none of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from codegen.measure.measurement import Measurement
from codegen.schedule.candidates import Candidates

SearcherState: TypeAlias = dict[str, Any]
"""Numbers, strings, lists and dicts only: it is written to the journal as JSON."""


class Space(Protocol):
    """All candidates of one program."""

    def count(self) -> int:
        """Number of points, counting points with equal kernels apart."""

    def sample(self, num: int, rng: np.random.Generator, /) -> Candidates:
        """``num`` points drawn independently; every point that may be worth a trial has a chance."""

    def mutate(self, candidates: Candidates, rng: np.random.Generator, /) -> Candidates:
        """One neighbour of each candidate, row by row; the candidate itself if it has none."""

    def num_values(self) -> NDArray[np.int64]:
        """Values of each knob, shape (sketches, most knobs); 1 where a sketch has no such knob."""

    def nearest(self, sketches: NDArray[np.int64], positions: NDArray[np.floating[Any]], /) -> Candidates:
        """A point of each given sketch that is nearest to the given positions, which may be fractions.

        This is how a move that ignores the constraints (crossover, a difference of vectors, a suggestion
        of another library) ends inside the space.
        """

    def counterparts(self, candidates: Candidates, rng: np.random.Generator, /) -> Candidates:
        """One candidate of each sketch, unlike sketches first, with what it shares with its next of kin kept.

        The candidates are given best first; of equally near kin the first counts.
        """

    def canonical(self, candidates: Candidates, /) -> Candidates:
        """The same kernels, in the same order, such that equal kernels have equal rows."""

    def enumerate(self, limit: int, /) -> Candidates:
        """The first ``limit`` points in a fixed order, fewer if the space is smaller."""


class Objective(Protocol):
    """Ranks candidates of one task."""

    def score(self, candidates: Candidates, /) -> NDArray[np.floating[Any]]:
        """Shape (N,), higher is better, any scale and sign; what is not finite ranks last."""


class Model(Objective, Protocol):
    """An objective that learns from measurements."""

    @property
    def is_fitted(self) -> bool:
        """Whether scores mean anything yet: pretrained, or refitted at least once."""

    def refit(
        self, candidates: Candidates, latencies_s: NDArray[np.float64], failed: NDArray[np.bool_], /
    ) -> None:
        """Learn from everything measured so far, in the order of measurement.

        ``latencies_s`` is NaN where ``failed``; at least one candidate did not fail. Given the same
        sequence of calls a model must end in the same state: resuming a run replays them.
        """


class Measurer(Protocol):
    """Runs candidates."""

    def measure(self, candidates: Candidates, /) -> Iterator[Measurement]:
        """One measurement per candidate, in order, each yielded as soon as it is known."""


class Searcher(Protocol):
    """Proposes what to measure next."""

    def propose(self, num: int, measured: NDArray[np.void], rng: np.random.Generator, /) -> Candidates:
        """``num`` distinct canonical candidates whose keys are not in ``measured``, best first.

        Fewer only when the space has no more (or hides them among very many equal kernels).
        """

    def observe(
        self, candidates: Candidates, latencies_s: NDArray[np.float64], failed: NDArray[np.bool_], /
    ) -> None:
        """The outcomes of one plan, of whatever arm; ``latencies_s`` is NaN where ``failed``."""

    def state(self) -> SearcherState:
        """Everything that later proposals depend on, apart from the objective and the generator."""

    def restore(self, state: SearcherState, /) -> None:
        """Continue as the searcher that returned ``state`` would."""
