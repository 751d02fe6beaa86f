"""A machine whose speed depends on a clock that only tests move."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from codegen.measure.steadiness import NUM_REMEMBERED, NUM_UNJUDGED, Reading, Watch
from codegen.target import Target

STEADY = (1e-4, 5e-8)
SLOW_CORE = (1.9e-4, 5e-8)
APART = (1e-4, 1.7e-7)


class Machine:
    """A clock that moves as the watch pauses, and a state that depends on it."""

    def __init__(self, state: Callable[[float], tuple[float, float]]) -> None:
        self._state = state
        self.now_s = 0.0

    def read(self) -> Reading:
        return np.array(self._state(self.now_s))

    def pause(self, seconds: float) -> None:
        self.now_s += seconds

    def watch(
        self,
        max_wait_s: float = 5.0,
        max_share: float = 0.25,
        remembered: Sequence[Reading] = (),
        worked_s: float = 0.0,
    ) -> Watch:
        return Watch(self.read, max_wait_s, max_share, remembered, worked_s, lambda: self.now_s, self.pause)


def slow_between(start_s: float, end_s: float, slow: tuple[float, float]) -> Machine:
    return Machine(lambda now_s: slow if start_s <= now_s < end_s else STEADY)


def experienced(machine: Machine, **limits: float) -> Watch:
    """A watch that knows what is usual at 0 s."""
    watch = machine.watch(**limits)
    for _ in range(NUM_UNJUDGED):
        watch.wait()
    return watch


class Told(Watch):
    """Says what it is told, one look after the other, and can afford ``num_repeats`` repetitions."""

    def __init__(self, *unsteadiness: float, num_repeats: int = 4) -> None:
        super().__init__(lambda: np.array(STEADY), 1.0, 0.25)
        self.told = list(unsteadiness)
        self.num_repeats = num_repeats

    def wait(self) -> float:
        return self.told.pop(0)

    def look(self) -> float:
        return self.told.pop(0)

    def affords(self, seconds: float) -> bool:
        assert seconds > 0
        return self.num_repeats > 0

    def charge(self, spent_s: float) -> None:
        assert spent_s > 0
        self.num_repeats -= 1


class SlowSince:
    """Stands for ``watching`` on a machine that has become slow for good, and notes what it was asked."""

    def __init__(self) -> None:
        self.num_contexts = 0
        self.max_wait_s = self.max_share = self.worked_s = 0.0
        self.remembered: Sequence[Reading] = ()

    @contextmanager
    def __call__(
        self,
        target: Target,
        max_wait_s: float,
        max_share: float,
        remembered: Sequence[Reading] = (),
        worked_s: float = 0.0,
    ) -> Iterator[Watch]:
        self.num_contexts += 1
        self.max_wait_s, self.max_share, self.worked_s = max_wait_s, max_share, worked_s
        self.remembered = remembered
        usual = [np.array(STEADY)] * NUM_REMEMBERED
        yield Watch(lambda: np.array(SLOW_CORE), 0.0, 0.0, usual, pause=lambda seconds: None)
