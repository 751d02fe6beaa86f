"""Whether bfloat16 pays is decided by what steps take, not by what else the machine does."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from costmodel import precision


class SlowSteps:
    """Steps that take what they are told to, by a clock of their own; the first in each precision longer."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, ratio: float, noise: Sequence[float]) -> None:
        self.now_s, self.ratio, self.noise = 0.0, ratio, iter(noise)
        self.precisions: list[bool] = []
        monkeypatch.setattr(precision, "INSTRUCTIONS", ("avx2",))
        monkeypatch.setattr(precision.time, "process_time", lambda: self.now_s)

    def __call__(self) -> None:
        self.precisions.append(torch.is_autocast_enabled("cpu"))
        self.now_s += (self.ratio if self.precisions[-1] else 1.0) * next(self.noise)


def test_bfloat16_is_refused_by_more_than_noise_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    busy = [9.0, 9.0, *[3.0] * 5, *[1.0] * 5]  # a machine that is busy in the first half of the tries
    steps = SlowSteps(monkeypatch, 1.05, busy)
    precision.check_bfloat16(steps)
    assert steps.precisions == [True, False] * 6
    with pytest.raises(ValueError, match="refused"):
        precision.check_bfloat16(SlowSteps(monkeypatch, 1.2, busy))
