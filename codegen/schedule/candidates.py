"""Many points of a space, as arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Candidates:
    """N points of one space: a sketch number and a row of knob value *positions* each.

    ``sketches`` has shape (N,), int64. ``positions`` has shape (N, most knobs of any sketch), int64:
    ``positions[i, j]`` is the index into the values of knob j of that sketch; unused columns hold 0.
    """

    sketches: NDArray[np.int64]
    positions: NDArray[np.int64]

    def __post_init__(self) -> None:
        if self.positions.ndim != 2 or self.sketches.shape != self.positions.shape[:1]:
            raise ValueError(f"shapes do not agree: {self.sketches.shape} and {self.positions.shape}")

    def __len__(self) -> int:
        return len(self.sketches)

    def __getitem__(self, rows: NDArray[np.int64] | NDArray[np.bool_] | slice) -> Candidates:
        return Candidates(self.sketches[rows], self.positions[rows])

    def keys(self) -> NDArray[np.void]:
        """One opaque, hashable, sortable value per candidate, shape (N,): equal keys are equal points."""
        rows = np.ascontiguousarray(np.column_stack([self.sketches, self.positions]))
        return rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1]))).reshape(-1)


def concatenate(parts: list[Candidates]) -> Candidates:
    """All candidates of the parts, in order; the parts come from the same space."""
    return Candidates(
        np.concatenate([part.sketches for part in parts]),
        np.concatenate([part.positions for part in parts]),
    )
