"""Training of networks on measured tasks."""

from __future__ import annotations

import copy
import hashlib
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import chain, islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from costmodel.augmentation import with_exchanged_operands
from costmodel.batching import forest_of
from costmodel.dataset import FeatureDataset
from costmodel.losses import Loss, RankAndTime
from costmodel.model import Progress
from costmodel.network import Dropout, ForestTensors, Ranker, score_in_blocks, tensors_of
from costmodel.precision import PRECISIONS, arithmetic, check_bfloat16
from costmodel.snapshot import TrainingState, load_snapshot, save_snapshot
from costmodel.steps import Step, epoch_steps, num_pieces
from costmodel.validation import divided, quality_of

COUNTS = ("num_done", "num_epochs", "num_worse")
FLOAT32_BELOW = 0.5
"""Share of the learning rate from which on steps are in float32: small ones vanish in bfloat16's 8 bits."""
NUM_CHECKED = 8
"""Steps that decide whether bfloat16 pays."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """AdamW with a warm-up and a cosine to zero.

    A step sees ``tasks_per_step`` tasks with ``candidates_per_task`` each; an epoch sees about as many
    candidates as there are. With ``validation_fraction`` > 0, that share of the tasks is kept apart, and
    the weights that rank them best after any epoch are the result; training ends early after ``patience``
    epochs without better ones, if that is not 0. ``precision`` is float32, or bfloat16_first: bfloat16 until
    the learning rate has dropped to half. ``exchange_probability`` as in ``costmodel.augmentation``.
    ``dropout``: a share of the units that the score is read off, left out at each step.
    """

    num_epochs: int = 40
    tasks_per_step: int = 8
    candidates_per_task: int = 64
    learning_rate: float = 6e-3
    weight_decay: float = 0.1
    clip_norm: float = 1.0
    warmup_fraction: float = 0.05
    validation_fraction: float = 0.0
    patience: int = 0
    precision: str = "float32"
    exchange_probability: float = 0.0
    dropout: float = 0.0
    loss: Loss = field(default_factory=RankAndTime)

    def __post_init__(self) -> None:
        for name in ("num_epochs", "tasks_per_step", "learning_rate", "clip_norm"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        if self.candidates_per_task < 2:
            raise ValueError(f"candidates_per_task must be at least 2, got {self.candidates_per_task}")
        if not 0 <= self.weight_decay < math.inf:
            raise ValueError(f"weight_decay must be 0 or more and finite, got {self.weight_decay}")
        for name in ("warmup_fraction", "validation_fraction", "dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be in [0, 1), got {getattr(self, name)}")
        if self.patience < 0 or (self.patience and not self.validation_fraction):
            raise ValueError(
                f"patience must not be negative and needs validation_fraction > 0, got {self.patience}"
            )
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision must be {' or '.join(PRECISIONS)}, got {self.precision!r}")
        if not 0 <= self.exchange_probability <= 1:
            raise ValueError(f"exchange_probability must be in [0, 1], got {self.exchange_probability}")


@dataclass(frozen=True, kw_only=True)
class RefitConfig:
    """Fine-tuning on tasks while one is tuned, one of them in a step; ``num_steps`` bounds its time.

    At least one epoch is trained, so tasks of more than ``num_steps * candidates_per_step`` take longer.
    """

    num_steps: int = 60
    candidates_per_step: int = 128
    learning_rate: float = 1e-3
    loss: Loss = field(default_factory=RankAndTime)

    def __post_init__(self) -> None:
        if self.num_steps < 1 or self.candidates_per_step < 2 or not self.learning_rate > 0:
            raise ValueError(f"num_steps, candidates_per_step and learning_rate must be positive, got {self}")

    def training(self, sizes: Sequence[int], learning_rate: float | None = None) -> TrainConfig:
        """A training of ``num_steps`` steps on tasks of these sizes; by default at the refit's rate."""
        pieces = sum(num_pieces(size, self.candidates_per_step) for size in sizes)
        return TrainConfig(
            num_epochs=max(1, self.num_steps // pieces),
            tasks_per_step=1,
            candidates_per_task=self.candidates_per_step,
            learning_rate=learning_rate or self.learning_rate,
            dropout=0.0,
            loss=self.loss,
        )


def train(
    network: Ranker,
    data: FeatureDataset,
    config: TrainConfig,
    rng: np.random.Generator,
    progress: Progress | None,
    snapshot: Path | None = None,
) -> None:
    """Train in place, from the weights the network has.

    ``snapshot`` is a file that holds the training after each epoch: one that was stopped goes on from there,
    given the same network, data and generator as at first, and ends in the same weights to the bit.

    Raises:
        ValueError: if no task has two candidates, one of which succeeded, or none is left to validate on, or
            ``snapshot`` is of another training, or the precision does not suit the CPU.
        FloatingPointError: if the loss stops being finite.
    """
    learnable = data.learnable()
    if not learnable.tasks:
        raise ValueError(
            f"nothing to learn from: none of {len(data.tasks)} tasks has two comparable candidates"
        )
    learning, validation = divided(learnable, config.validation_fraction, rng)
    network.train()
    run = _Training(network, learning, config, rng, progress)
    identity = run.identity(learnable) if snapshot is not None else ""
    if snapshot is not None:
        run.restore(load_snapshot(snapshot, identity))
    while not run.is_over:
        run.epoch()
        run.judge(
            quality_of(partial(score_in_blocks, network), validation) if validation is not None else -math.inf
        )
        if snapshot is not None:
            save_snapshot(snapshot, identity, run.state())
    if run.best_weights is not None:
        network.load_state_dict(run.best_weights)
    network.eval()


class _Training:
    """A training between two epochs: all that the next one depends on."""

    def __init__(
        self,
        network: Ranker,
        data: FeatureDataset,
        config: TrainConfig,
        rng: np.random.Generator,
        progress: Progress | None,
    ) -> None:
        self.network, self.data, self.config, self.rng, self.progress = network, data, config, rng, progress
        self.optimizer = torch.optim.AdamW(
            network.parameters(), config.learning_rate, weight_decay=config.weight_decay
        )
        self.num_steps = config.num_epochs * len(self._steps(np.random.default_rng(0)))
        self.num_done, self.num_epochs, self.num_worse = 0, 0, 0
        self.best_quality = -math.inf
        self.best_weights: dict[str, Tensor] | None = None
        self._is_checked = config.precision == "float32"

    @property
    def is_over(self) -> bool:
        """Whether all epochs are done, or the last ones brought nothing."""
        is_stuck = 0 < self.config.patience <= self.num_worse
        return self.num_epochs >= self.config.num_epochs or is_stuck

    def epoch(self) -> None:
        """See every candidate about once."""
        for step in self._steps(self.rng):
            share = schedule(self.num_done / self.num_steps, self.config.warmup_fraction)
            for group in self.optimizer.param_groups:
                group["lr"] = self.config.learning_rate * share
            loss = self._step(step, share)
            self.num_done += 1
            if self.progress is not None:
                self.progress(self.num_done, self.num_steps, loss)
        self.num_epochs += 1

    def judge(self, quality: float) -> None:
        """Keep the weights if they rank the validation tasks best so far."""
        self.num_worse += 1
        if quality > self.best_quality:
            self.best_quality, self.best_weights = quality, copy.deepcopy(self.network.state_dict())
            self.num_worse = 0

    def identity(self, given: FeatureDataset) -> str:
        """16 hex digits over what fixes the training at its start; ``given`` is before any are kept apart."""
        # Shapes alone do not tell networks apart: heads of attention, say, share the arrays of all.
        encoder = (self.network.config.name, asdict(self.network.config))
        shapes = [tuple(parameter.shape) for parameter in self.network.parameters()]
        facts = (given.hash, self.config, encoder, shapes, self.rng.bit_generator.state)
        return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]

    def state(self) -> TrainingState:
        """What ``restore`` goes on from."""
        moments = self.optimizer.state_dict()["state"]
        arrays = {f"network.{name}": tensor for name, tensor in self.network.state_dict().items()}
        arrays |= {
            f"optimizer.{number}.{name}": tensor
            for number, parts in moments.items()
            for name, tensor in parts.items()
        }
        arrays |= {f"best.{name}": tensor for name, tensor in (self.best_weights or {}).items()}
        counts = {name: getattr(self, name) for name in COUNTS}
        quality = self.best_quality if math.isfinite(self.best_quality) else None
        return TrainingState(counts, quality, self.rng.bit_generator.state, arrays)

    def restore(self, state: TrainingState | None) -> None:
        """Go on from there, if there is something to go on from."""
        if state is None:
            return
        self._is_checked = True  # what has a snapshot began in its precision, and must end in it
        for name, count in state.counts.items():
            setattr(self, name, count)
        self.best_quality = -math.inf if state.best_quality is None else state.best_quality
        self.rng.bit_generator.state = state.generator
        self.network.load_state_dict(state.part("network"))
        self.best_weights = state.part("best") or None
        moments: dict[int, dict[str, Tensor]] = {}
        for name, tensor in state.part("optimizer").items():
            number, _, moment = name.partition(".")
            moments.setdefault(int(number), {})[moment] = tensor
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": moments, "param_groups": groups})

    def _steps(self, rng: np.random.Generator) -> list[Step]:
        return epoch_steps(self.data, self.config.tasks_per_step, self.config.candidates_per_task, rng)

    def _dropout(self) -> Dropout | None:
        if not self.config.dropout:
            return None
        return Dropout(self.config.dropout, torch.Generator().manual_seed(seed_of(self.rng)))

    def _check_precision(self) -> None:
        """ValueError if bfloat16 does not pay, by a few steps that are drawn as the training draws them."""
        # Not the same in each training: for sizes that one had, a library may have products ready.
        rng = copy.deepcopy(self.rng)
        steps = chain.from_iterable(self._steps(rng) for _ in range(NUM_CHECKED))
        rows = [step.rows[step.rows >= 0] for step in islice(steps, NUM_CHECKED)]
        forests = [tensors_of(forest_of(self.data.take(each))) for each in rows]
        check_bfloat16([partial(self._compute_gradients, forest) for forest in forests])
        self._is_checked = True

    def _compute_gradients(self, forest: ForestTensors) -> None:
        """Of any loss; the next step forgets them."""
        self.network(forest).float().sum().backward()

    def _step(self, step: Step, share: float) -> float:
        config = self.config
        is_real = step.rows >= 0
        trees = self.data.take(step.rows[is_real])
        if config.exchange_probability:
            trees = with_exchanged_operands(trees, config.exchange_probability, self.rng)
        forest = forest_of(trees)
        if not self._is_checked:
            self._check_precision()
        with arithmetic(is_bfloat16=config.precision != "float32" and share > FLOAT32_BELOW):
            scores = self.network(tensors_of(forest), self._dropout()).float()
        # Roots come grouped by topology; put each back where its task is.
        places = torch.from_numpy(np.flatnonzero(is_real)[forest.rows])
        grid: Tensor = scores.new_zeros(step.rows.size).index_copy(0, places, scores)
        grid = grid.reshape(step.rows.shape)
        loss = config.loss(grid, torch.from_numpy(step.labels), torch.from_numpy(is_real))
        if not torch.isfinite(loss):
            raise FloatingPointError("the loss is not finite; a lower learning_rate may help")
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch annotates it so
        nn.utils.clip_grad_norm_(self.network.parameters(), config.clip_norm)
        self.optimizer.step()
        return float(loss.detach())


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
