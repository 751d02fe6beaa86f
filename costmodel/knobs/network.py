"""A small network over knob tokens: one per knob, attention between them, an ensemble for uncertainty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from costmodel.knobs.boosted import LEAST_DEVIATION
from costmodel.knobs.features import Array


@dataclass(frozen=True, kw_only=True)
class KnobNetworkConfig:
    """``num_members`` networks of ``width`` per token; ``num_steps`` full-batch steps of Adam a refit."""

    num_members: int = 4
    width: int = 32
    num_steps: int = 60
    num_pretraining_steps: int = 400
    learning_rate: float = 5e-3

    def __post_init__(self) -> None:
        if min(self.num_members, self.width, self.num_steps, self.num_pretraining_steps) < 1:
            raise ValueError(f"sizes and numbers of steps must be at least 1, got {self}")
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate must be positive, got {self.learning_rate}")


class KnobEncoder(nn.Module):
    """Members side by side: weights have a leading member axis, so one call serves the ensemble.

    A token is the embedding of a knob's value; values near each other in number share a direction, by their
    scaled number times a vector of the knob. One head of attention mixes the tokens, their sum is read out.
    """

    def __init__(self, sizes: Sequence[int], config: KnobNetworkConfig, generator: torch.Generator) -> None:
        super().__init__()
        self._offsets = torch.tensor(np.cumsum([0, *sizes[:-1]]))
        self._scale = torch.tensor([1.0 / max(size - 1, 1) for size in sizes])
        members, width = config.num_members, config.width

        def weights(*shape: int) -> nn.Parameter:
            spread = shape[-2] ** -0.5 if len(shape) > 2 else 0.3
            return nn.Parameter(spread * torch.randn(members, *shape, generator=generator))

        self.values = weights(sum(sizes), width)
        self.slopes = weights(len(sizes), width)
        self.mix = weights(width, 3 * width)
        self.hidden = weights(2 * width, width)
        self.bias = weights(1, width)
        self.out = weights(width, 1)

    def forward(self, positions: Tensor) -> Tensor:
        """(points, knobs) positions of values -> (members, points)."""
        # Not by an index: threads would add the gradients of a value that points share in any order.
        embedded = self.values.index_select(1, (positions + self._offsets).flatten())
        slopes = (positions * self._scale)[None, :, :, None] * self.slopes[:, None]
        tokens = embedded.reshape(len(embedded), *positions.shape, -1) + slopes
        query, key, value = torch.einsum("mpkw,mwv->mpkv", tokens, self.mix).chunk(3, dim=-1)
        mixed = nn.functional.scaled_dot_product_attention(query, key, value)
        read = torch.cat([tokens.mean(dim=2), mixed.mean(dim=2)], dim=-1)
        hidden = torch.nn.functional.silu(torch.einsum("mpw,mwv->mpv", read, self.hidden) + self.bias)
        return torch.einsum("mpw,mwo->mpo", hidden, self.out)[..., 0]


class KnobNetwork:
    """The encoder as a surrogate. ``positions`` (points, knobs) with ``sizes`` values per knob."""

    def __init__(
        self,
        positions: NDArray[np.int64],
        sizes: Sequence[int],
        config: KnobNetworkConfig,
        generator: torch.Generator,
    ) -> None:
        self._positions = torch.from_numpy(positions)
        self._config = config
        self._encoder = KnobEncoder(sizes, config, generator)

    def pretrain(self, guess: Array) -> None:
        """Start from what another device says of every point (lower is better)."""
        rows = np.linspace(0, len(guess) - 1, min(len(guess), 2_048)).astype(np.int64)
        self._train(rows, guess[rows], self._config.num_pretraining_steps)

    def fit(self, rows: NDArray[np.int64], targets: Array) -> None:
        """Goes on from the weights it has: most trials are known to them."""
        self._train(rows, targets, self._config.num_steps)

    @torch.no_grad()
    def predict(self) -> tuple[Array, Array]:
        parts = [self._encoder(part) for part in torch.split(self._positions, 4_096)]
        found = torch.cat(parts, dim=1).double().numpy()
        return found.mean(axis=0), np.maximum(found.std(axis=0), LEAST_DEVIATION)

    def _train(self, rows: NDArray[np.int64], targets: Array, num_steps: int) -> None:
        points, labels = self._positions[rows], torch.from_numpy(targets.astype(np.float32))
        optimiser = torch.optim.Adam(self._encoder.parameters(), lr=self._config.learning_rate)
        for _ in range(num_steps):
            optimiser.zero_grad()
            # Each member answers for itself: a sum over members, a mean over trials.
            loss = ((self._encoder(points) - labels) ** 2).mean(dim=1).sum()
            loss.backward()
            optimiser.step()
