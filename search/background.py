"""Planning on a thread of its own, which stands still while a kernel is timed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from codegen.measure.gate import Gate
from codegen.schedule.candidates import Candidates
from search.protocols import Objective

T = TypeVar("T")


class GatedObjective:
    """An objective that a search can be stopped at: it waits at the gate before each batch of scores."""

    def __init__(self, objective: Objective, gate: Gate) -> None:
        self._objective = objective
        self._gate = gate

    def score(self, candidates: Candidates) -> NDArray[np.floating]:
        """See ``Objective``."""
        self._gate.pass_through()
        return self._objective.score(candidates)


@contextmanager
def in_background(work: Callable[[], T], gate: Gate) -> Iterator[Future[T]]:
    """Carry out ``work`` beside the block, while the gate is open; it is over when the block is left."""

    def gated() -> T:
        with gate.at_work():
            return work()

    with ThreadPoolExecutor(1, thread_name_prefix="planning") as threads:
        yield threads.submit(gated)
