"""What each step of a training sees: pieces of tasks, in a random order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from costmodel.dataset import FeatureDataset


@dataclass(frozen=True)
class Step:
    """What one step learns from: rows of the data set's trees, (tasks, candidates), -1 for none."""

    rows: NDArray[np.int64]
    labels: NDArray[np.float32]


def num_pieces(num_candidates: int, size: int) -> int:
    """Pieces of a size that a task is cut into; a last one shorter than half is dropped, unless it is alone.

    >>> [num_pieces(num, 128) for num in (5, 191, 192, 320)]
    [1, 1, 2, 3]
    """
    return max(1, (num_candidates + size // 2) // size)


def epoch_steps(
    data: FeatureDataset, tasks_per_step: int, candidates_per_task: int, rng: np.random.Generator
) -> list[Step]:
    """An order in which every candidate is seen about once.

    Each task is cut at random into pieces of ``candidates_per_task`` (``num_pieces``); what is left over is
    left out in this epoch. Steps take pieces at random.
    """
    pieces: list[tuple[NDArray[np.int64], NDArray[np.float64]]] = []
    start = 0
    for task in data.tasks:
        order = rng.permutation(len(task))
        for number in range(num_pieces(len(task), candidates_per_task)):
            first = number * candidates_per_task
            piece = order[first : first + candidates_per_task]
            pieces.append((start + piece, task.labels[piece]))
        start += len(task)
    order = rng.permutation(len(pieces))
    chunks = [order[i : i + tasks_per_step] for i in range(0, len(pieces), tasks_per_step)]
    return [_stacked([pieces[i] for i in chunk]) for chunk in chunks]


def _stacked(pieces: list[tuple[NDArray[np.int64], NDArray[np.float64]]]) -> Step:
    width = max(len(rows) for rows, _ in pieces)
    rows = np.full((len(pieces), width), -1, dtype=np.int64)
    labels = np.zeros((len(pieces), width), dtype=np.float32)
    for i, (piece, label) in enumerate(pieces):
        rows[i, : len(piece)] = piece
        labels[i, : len(piece)] = label
    return Step(rows, labels)
