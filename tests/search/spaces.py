"""A small generic knob space with a known rugged landscape, and what measures and models it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codegen.measure.measurement import Failure, Measurement
from codegen.schedule.candidates import Candidates, concatenate


@dataclass(frozen=True)
class KnobSpace:
    """Sketches of ordinal knobs: ``sizes[s][j]`` values for knob j of sketch s.

    Points of sketch 0 with the first knob at 0 all stand for one kernel if ``has_equal_kernels``.
    """

    sizes: tuple[tuple[int, ...], ...] = ((6, 5, 8, 7), (9, 4, 3))
    has_equal_kernels: bool = False

    def count(self) -> int:
        return sum(int(np.prod(sizes)) for sizes in self.sizes)

    def bounds(self) -> NDArray[np.int64]:
        """Values of each knob, shape (sketches, most knobs); 1 where a sketch has no such knob."""
        width = max(len(sizes) for sizes in self.sizes)
        return np.array([sizes + (1,) * (width - len(sizes)) for sizes in self.sizes], np.int64)

    def sample(self, num: int, rng: np.random.Generator) -> Candidates:
        weights = np.array([np.prod(sizes) for sizes in self.sizes], np.float64)
        sketches = rng.choice(len(self.sizes), num, p=weights / weights.sum()).astype(np.int64)
        return Candidates(sketches, rng.integers(0, self.bounds()[sketches]))

    def mutate(self, candidates: Candidates, rng: np.random.Generator) -> Candidates:
        bounds = self.bounds()[candidates.sketches]
        rows = np.arange(len(candidates))
        knob = np.argmax(rng.random(bounds.shape) * (bounds > 1), axis=1)
        step = rng.integers(0, 2, len(candidates)) * 2 - 1
        positions = candidates.positions.copy()
        positions[rows, knob] = np.clip(positions[rows, knob] + step, 0, bounds[rows, knob] - 1)
        jump = rng.random(len(candidates)) < 0.05
        fresh = self.sample(len(candidates), rng)
        return Candidates(
            np.where(jump, fresh.sketches, candidates.sketches),
            np.where(jump[:, None], fresh.positions, positions),
        )

    def num_values(self) -> NDArray[np.int64]:
        return self.bounds()

    def nearest(self, sketches: NDArray[np.int64], positions: NDArray[np.floating[Any]]) -> Candidates:
        rounded = np.rint(positions).astype(np.int64)
        return Candidates(sketches, np.clip(rounded, 0, self.bounds()[sketches] - 1))

    def counterparts(self, candidates: Candidates, rng: np.random.Generator) -> Candidates:
        del rng
        sketches = np.arange(len(self.sizes))
        positions = np.repeat(candidates.positions[:1], len(sketches), axis=0)
        return Candidates(sketches, np.minimum(positions, self.bounds() - 1))

    def canonical(self, candidates: Candidates) -> Candidates:
        if not self.has_equal_kernels:
            return candidates
        equal = (candidates.sketches == 0) & (candidates.positions[:, 0] == 0)
        return Candidates(candidates.sketches, np.where(equal[:, None], 0, candidates.positions))

    def enumerate(self, limit: int) -> Candidates:
        width = self.bounds().shape[1]
        parts = []
        for sketch, sizes in enumerate(self.sizes):
            numbers = np.arange(min(int(np.prod(sizes)), limit))
            rows = np.stack(np.unravel_index(numbers, sizes), axis=-1).astype(np.int64)
            padded = np.pad(rows, ((0, 0), (0, width - len(sizes))))
            parts.append(Candidates(np.full(len(rows), sketch, np.int64), padded))
        return concatenate(parts)[: max(limit, 0)]

    def contains(self, candidates: Candidates) -> bool:
        return bool(
            np.all((candidates.sketches >= 0) & (candidates.sketches < len(self.sizes)))
            and np.all(candidates.positions >= 0)
            and np.all(candidates.positions < self.bounds()[candidates.sketches])
        )


def rugged_latency_s(candidates: Candidates) -> NDArray[np.float64]:
    """A bowl with ripples: smooth enough to climb, with many local minima. Positive."""
    knobs = candidates.positions.astype(np.float64)
    centre = np.linspace(2.0, 4.0, knobs.shape[1])
    bowl = ((knobs - centre) ** 2).sum(axis=1)
    ripple = np.abs(np.sin(1.7 * knobs + candidates.sketches[:, None])).sum(axis=1)
    return 1e-5 * (1.0 + bowl + 2.0 * ripple + 3.0 * candidates.sketches)


@dataclass
class RuggedMeasurer:
    """Latency as a function of the candidate; ``fails`` one in so many by the same rule. Counts calls."""

    fails_one_in: int | None = 7
    num_measured: int = 0

    def measure(self, candidates: Candidates) -> Iterator[Measurement]:
        sums = candidates.positions.sum(axis=1) + candidates.sketches
        for latency_s, total in zip(rugged_latency_s(candidates).tolist(), sums.tolist(), strict=True):
            self.num_measured += 1
            if self.fails_one_in is not None and total % self.fails_one_in == 0:
                yield Measurement((), Failure("runtime", f"made to fail: {total}"))
            else:
                yield Measurement((latency_s,))


class TrueScores:
    """The landscape itself as an objective."""

    def score(self, candidates: Candidates) -> NDArray[np.float64]:
        return -np.log(rugged_latency_s(candidates))


@dataclass
class LinearModel:
    """Least squares on positions and their squares. Warm: each refit moves half of the way.

    So the weights depend on the whole sequence of refits, as those of a network trained on do.
    """

    is_fitted: bool = False
    refit_sizes: list[int] = field(default_factory=list)
    _weights: NDArray[np.float64] | None = None

    def refit(
        self, candidates: Candidates, latencies_s: NDArray[np.float64], failed: NDArray[np.bool_]
    ) -> None:
        self.refit_sizes.append(len(candidates))
        features = self._features(candidates)[~failed]
        weights = np.linalg.lstsq(features, -np.log(latencies_s[~failed]), rcond=None)[0]
        self._weights = weights if self._weights is None else (self._weights + weights) / 2
        self.is_fitted = True

    def score(self, candidates: Candidates) -> NDArray[np.float64]:
        features = self._features(candidates)
        return features @ (np.zeros(features.shape[1]) if self._weights is None else self._weights)

    def _features(self, candidates: Candidates) -> NDArray[np.float64]:
        knobs = candidates.positions.astype(np.float64)
        ones = np.ones((len(candidates), 1))
        return np.hstack([ones, candidates.sketches[:, None], knobs, knobs**2])
