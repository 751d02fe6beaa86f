"""What the records of another device, problem size or kernel say of the points of a space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from costmodel.knobs.factors import IntArray, knob_factors
from costmodel.knobs.gaussian_process import GaussianProcess, GaussianProcessConfig
from costmodel.knobs.guess import Guess
from costmodel.knobs.surrogate import normal_scores, standardised
from datasets.recorded import RecordedTable, Value, ordered_values

Array = NDArray[np.float64]

MOST_LEARNT = 500
"""Source records that a model learns from where points cannot be looked up."""


@dataclass(frozen=True, kw_only=True)
class KnobPoints:
    """The points of a space by knob names, values of each knob, and positions (points, knobs) of values."""

    names: Sequence[str]
    values: Sequence[Sequence[Value]]
    positions: NDArray[np.int64]


def guess_from(
    source: RecordedTable, points: KnobPoints, num_records: int | None, rng: np.random.Generator
) -> Guess:
    """What the source says of every point.

    With all records of the same knobs (``num_records`` None) a point is looked up. Otherwise a Gaussian
    process on the knobs that both have, whatever the case of their letters, learns from that many records
    at random and predicts, with doubt.

    Raises:
        ValueError: the source has no knob in common, or ``num_records`` is less than 2.
    """
    if num_records is not None and num_records < 2:
        raise ValueError(f"at least 2 source records are needed, got {num_records}")
    ours = {name.lower(): column for column, name in enumerate(points.names)}
    theirs = {name.lower(): column for column, name in enumerate(source.knobs)}
    shared = [name for name in ours if name in theirs]
    if not shared:
        raise ValueError(
            f"{source.kernel} on {source.device} has no knob in common: {', '.join(source.knobs)} are not "
            f"among {', '.join(points.names)}"
        )
    known = [_joined(points.values[ours[name]], source.values[theirs[name]]) for name in shared]
    left = _renumbered(points.positions, points.values, [ours[name] for name in shared], known)
    right = _renumbered(source.positions, source.values, [theirs[name] for name in shared], known)
    scores = normal_scores(np.where(np.isnan(source.times_s), np.inf, source.times_s))
    has_all_knobs = len(shared) == len(ours) == len(theirs)
    if num_records is None and has_all_knobs:
        places = _places(left, right)
        # What the source has not is as bad as its worst.
        found = np.where(places < 0, scores.max(), scores[places])
        return Guess(found, (np.arange(len(found)), found))
    chosen = rng.permutation(len(source))[: num_records or MOST_LEARNT]
    targets = standardised(scores[chosen])
    process = GaussianProcess(
        knob_factors(known, np.concatenate([right[chosen], left])), GaussianProcessConfig()
    )
    process.fit(np.arange(len(chosen)), targets)
    mean = process.predict()[0][len(chosen) :]
    places = _places(right[chosen], left) if has_all_knobs else np.full(len(chosen), -1)
    is_ours = places >= 0
    return Guess(mean, (places[is_ours], targets[is_ours]), RecordsDoubt(process, len(chosen)))


@dataclass(frozen=True)
class RecordsDoubt:
    """What a process leaves open that has learnt records: its first ``num_records`` points; ours follow."""

    process: GaussianProcess
    num_records: int

    def variance(self) -> Array:
        return self.process.variance()[self.num_records :]

    def covariance(self, rows: IntArray, columns: IntArray | slice) -> Array:
        theirs = slice(self.num_records, None) if isinstance(columns, slice) else columns + self.num_records
        return self.process.covariance(rows + self.num_records, theirs)


def _joined(left: Sequence[Value], right: Sequence[Value]) -> list[Value]:
    """All values of a knob that either has, in the order of a recorded table."""
    return list(ordered_values({*left, *right}))


def _renumbered(
    positions: NDArray[np.int64],
    values: Sequence[Sequence[Value]],
    columns: Sequence[int],
    known: Sequence[Sequence[Value]],
) -> NDArray[np.int64]:
    """The columns, as positions among the known values."""
    parts = []
    for column, all_values in zip(columns, known, strict=True):
        places = np.array([all_values.index(value) for value in values[column]], np.int64)
        parts.append(places[positions[:, column]])
    return np.stack(parts, axis=1)


def _places(wanted: NDArray[np.int64], known: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where each wanted row is among the known ones, -1 for one that is not; the last of equal ones."""
    _, numbers = np.unique(np.concatenate([known, wanted]), axis=0, return_inverse=True)
    numbers = numbers.reshape(-1)
    found = np.full(numbers.max() + 1, -1, np.int64)
    found[numbers[: len(known)]] = np.arange(len(known))
    return found[numbers[len(known) :]]
