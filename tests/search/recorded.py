"""A made-up recorded space: rugged times, failures, and costs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from codegen.measure.measurement import FailureKind
from search.replay import Replay
from search.table_space import Knob, TableSpace

SIZES = (8, 6, 5, 3)


def table_space(sizes: tuple[int, ...] = SIZES) -> TableSpace:
    grid = np.stack(np.unravel_index(np.arange(int(np.prod(sizes))), sizes), axis=1)
    allowed = grid[(grid[:, :2].sum(axis=1) % 7 != 3)] if len(sizes) > 1 else grid
    return TableSpace([Knob(f"k{j}", tuple(2**v for v in range(n))) for j, n in enumerate(sizes)], allowed)


def times_of(space: TableSpace) -> NDArray[np.float64]:
    """A bowl with ripples, seconds."""
    places = space.positions.astype(np.float64)
    bowl = ((places - np.linspace(3.0, 1.0, places.shape[1])) ** 2).sum(axis=1)
    return 1e-3 * (1 + bowl + np.abs(np.sin(2.1 * places)).sum(axis=1))


def replay(space: TableSpace, fails_one_in: int | None = 7, cost_s: float = 0.5) -> Replay:
    """Every so many rows fail; a trial costs the same whether it fails or not."""
    times_s = times_of(space)
    failures: list[FailureKind | None] = [None] * len(space)
    if fails_one_in is not None:
        for row in range(0, len(space), fails_one_in):
            failures[row], times_s[row] = "runtime", np.nan
    return Replay(space, times_s, failures, np.full(len(space), cost_s))
