"""Training of networks on measured tasks."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from costmodel.batching import TreeBatch, forest_of
from costmodel.dataset import FeatureDataset
from costmodel.losses import Loss, RankAndTime
from costmodel.metrics import average, task_metrics
from costmodel.model import Progress
from costmodel.network import score_in_blocks, tensors_of


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """AdamW with a warm-up and a cosine to zero.

    A step sees ``tasks_per_step`` tasks with ``candidates_per_task`` each; an epoch sees about as many
    candidates as there are. With ``validation_fraction`` > 0, that share of the tasks is kept apart, and
    the weights that rank them best after any epoch are the result.
    """

    num_epochs: int = 40
    tasks_per_step: int = 8
    candidates_per_task: int = 64
    learning_rate: float = 6e-3
    weight_decay: float = 0.1
    clip_norm: float = 1.0
    warmup_fraction: float = 0.05
    validation_fraction: float = 0.0
    loss: Loss = field(default_factory=RankAndTime)

    def __post_init__(self) -> None:
        for name in ("num_epochs", "tasks_per_step", "learning_rate", "clip_norm"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        if self.candidates_per_task < 2:
            raise ValueError(f"candidates_per_task must be at least 2, got {self.candidates_per_task}")
        if not 0 <= self.validation_fraction < 1:
            raise ValueError(f"validation_fraction must be in [0, 1), got {self.validation_fraction}")


@dataclass(frozen=True, kw_only=True)
class RefitConfig:
    """Fine-tuning on one task while it is tuned; ``num_steps`` bounds its time.

    At least one epoch is trained, so tasks of more than ``num_steps * candidates_per_step`` take longer.
    """

    num_steps: int = 60
    candidates_per_step: int = 128
    learning_rate: float = 1e-3
    loss: Loss = field(default_factory=RankAndTime)

    def __post_init__(self) -> None:
        if self.num_steps < 1 or self.candidates_per_step < 2 or not self.learning_rate > 0:
            raise ValueError(f"num_steps, candidates_per_step and learning_rate must be positive, got {self}")

    def training(self, num_candidates: int, learning_rate: float | None = None) -> TrainConfig:
        """A training of ``num_steps`` steps on a task of some size; by default at the refit's rate."""
        pieces = num_pieces(num_candidates, self.candidates_per_step)
        return TrainConfig(
            num_epochs=max(1, self.num_steps // pieces),
            tasks_per_step=1,
            candidates_per_task=self.candidates_per_step,
            learning_rate=learning_rate or self.learning_rate,
            loss=self.loss,
        )


@dataclass(frozen=True)
class Step:
    """What one step learns from: rows of the data set's trees, (tasks, candidates), -1 for none."""

    rows: NDArray[np.int64]
    labels: NDArray[np.float32]


def train(
    network: nn.Module,
    data: FeatureDataset,
    config: TrainConfig,
    rng: np.random.Generator,
    progress: Progress | None,
) -> None:
    """Train in place, from the weights the network has.

    Raises:
        ValueError: if no task has two candidates, one of which succeeded.
        FloatingPointError: if the loss stops being finite.
    """
    learnable = data.learnable()
    if not learnable.tasks:
        raise ValueError(
            f"nothing to learn from: none of {len(data.tasks)} tasks has two comparable candidates"
        )
    learning, validation = _divide(learnable, config.validation_fraction, rng)
    optimizer = torch.optim.AdamW(
        network.parameters(), config.learning_rate, weight_decay=config.weight_decay
    )
    num_steps = config.num_epochs * len(epoch_steps(learning, config, np.random.default_rng(0)))
    best_quality, best_weights = -math.inf, None
    done = 0
    network.train()
    for _ in range(config.num_epochs):
        for step in epoch_steps(learning, config, rng):
            _set_rate(optimizer, config.learning_rate * schedule(done / num_steps, config.warmup_fraction))
            loss = _step(network, optimizer, learning.trees, step, config)
            done += 1
            if progress is not None:
                progress(done, num_steps, loss)
        quality = _quality(network, validation) if validation is not None else -math.inf
        if quality > best_quality:
            best_quality, best_weights = quality, copy.deepcopy(network.state_dict())
    if best_weights is not None:
        network.load_state_dict(best_weights)
    network.eval()


def schedule(done: float, warmup: float) -> float:
    """Share of the learning rate after a share of the steps.

    >>> schedule(0.5, 0.0)
    0.5
    """
    if done < warmup:
        return (done + 1e-3) / (warmup + 1e-3)
    return 0.5 * (1 + math.cos(math.pi * (done - warmup) / (1 - warmup)))


def seed_of(rng: np.random.Generator) -> int:
    """A seed for torch, drawn from the generator."""
    return int(rng.integers(2**62))


def num_pieces(num_candidates: int, size: int) -> int:
    """Pieces of a size that a task is cut into; a last one shorter than half is dropped, unless it is alone.

    >>> [num_pieces(num, 128) for num in (5, 191, 192, 320)]
    [1, 1, 2, 3]
    """
    return max(1, (num_candidates + size // 2) // size)


def epoch_steps(data: FeatureDataset, config: TrainConfig, rng: np.random.Generator) -> list[Step]:
    """An order in which every candidate is seen about once.

    Each task is cut at random into pieces of ``candidates_per_task`` (``num_pieces``); what is left over is
    left out in this epoch. Steps take pieces at random.
    """
    pieces: list[tuple[NDArray[np.int64], NDArray[np.float64]]] = []
    start = 0
    for task in data.tasks:
        order = rng.permutation(len(task))
        for number in range(num_pieces(len(task), config.candidates_per_task)):
            first = number * config.candidates_per_task
            piece = order[first : first + config.candidates_per_task]
            pieces.append((start + piece, task.labels[piece]))
        start += len(task)
    order = rng.permutation(len(pieces))
    chunks = [order[i : i + config.tasks_per_step] for i in range(0, len(pieces), config.tasks_per_step)]
    return [_stacked([pieces[i] for i in chunk]) for chunk in chunks]


def _stacked(pieces: list[tuple[NDArray[np.int64], NDArray[np.float64]]]) -> Step:
    width = max(len(rows) for rows, _ in pieces)
    rows = np.full((len(pieces), width), -1, dtype=np.int64)
    labels = np.zeros((len(pieces), width), dtype=np.float32)
    for i, (piece, label) in enumerate(pieces):
        rows[i, : len(piece)] = piece
        labels[i, : len(piece)] = label
    return Step(rows, labels)


def _step(
    network: nn.Module, optimizer: torch.optim.Optimizer, trees: TreeBatch, step: Step, config: TrainConfig
) -> float:
    is_real = step.rows >= 0
    forest = forest_of(trees.take(step.rows[is_real]))
    scores = network(tensors_of(forest))
    # Roots come grouped by topology; put each back where its task is.
    places = torch.from_numpy(np.flatnonzero(is_real)[forest.rows])
    grid: Tensor = scores.new_zeros(step.rows.size).index_copy(0, places, scores).reshape(step.rows.shape)
    loss = config.loss(grid, torch.from_numpy(step.labels), torch.from_numpy(is_real))
    if not torch.isfinite(loss):
        raise FloatingPointError("the loss is not finite; a lower learning_rate may help")
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]  # torch annotates it so
    nn.utils.clip_grad_norm_(network.parameters(), config.clip_norm)
    optimizer.step()
    return float(loss.detach())


def _set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate


def _divide(
    data: FeatureDataset, fraction: float, rng: np.random.Generator
) -> tuple[FeatureDataset, FeatureDataset | None]:
    num_kept = round(fraction * len(data.tasks))
    if num_kept == 0 or num_kept == len(data.tasks):
        return data, None
    kept = set(rng.permutation(len(data.tasks))[:num_kept].tolist())
    learning = tuple(task for i, task in enumerate(data.tasks) if i not in kept)
    return FeatureDataset(learning), FeatureDataset(tuple(data.tasks[i] for i in sorted(kept)))


def _quality(network: nn.Module, data: FeatureDataset) -> float:
    tasks = [task_metrics(score_in_blocks(network, task.trees), task.labels) for task in data.tasks]
    quality = average(tasks)["pairwise_accuracy"]
    return quality if math.isfinite(quality) else -math.inf
