"""Whether bfloat16 pays is decided by what steps take, not by what else the machine does."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import pytest
import torch

from costmodel import precision


class SlowSteps:
    """Steps that take what they are told to, by a clock of their own, each with its sizes' share of that.

    The first time of a size in bfloat16 takes ``preparing_s`` more.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, ratio: float, preparing_s: float = 0.0) -> None:
        self.now_s, self.ratio, self.preparing_s = 0.0, ratio, preparing_s
        self.prepared: set[float] = set()
        self.precisions: list[bool] = []
        monkeypatch.setattr(precision, "INSTRUCTIONS", ("avx2",))
        monkeypatch.setattr(precision.time, "process_time", lambda: self.now_s)

    def __call__(self, size: float) -> None:
        self.precisions.append(torch.is_autocast_enabled("cpu"))
        if self.precisions[-1] and size not in self.prepared:
            self.prepared.add(size)
            self.now_s += self.preparing_s
        self.now_s += (self.ratio if self.precisions[-1] else 1.0) * size


def check(steps: SlowSteps, sizes: Sequence[float]) -> None:
    precision.check_bfloat16([partial(steps, size) for size in sizes])


BUSY = (9.0, 3.0, 3.1, 3.2, 1.0, 1.1, 1.2)
"""Sizes, or a machine that is busy at first."""


def test_bfloat16_is_refused_by_more_than_noise_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = SlowSteps(monkeypatch, 1.05)
    check(steps, BUSY)
    assert steps.precisions == [True, False] * len(BUSY)
    with pytest.raises(ValueError, match="refused"):
        check(SlowSteps(monkeypatch, 1.2), BUSY)


def test_what_bfloat16_costs_for_every_new_size_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    check(SlowSteps(monkeypatch, 0.7, preparing_s=5.0), [1.0] * 8)
    with pytest.raises(ValueError, match=r"takes 6610\.0 ms in bfloat16 and 2300\.0 ms in float32"):
        check(SlowSteps(monkeypatch, 0.7, preparing_s=5.0), (1.0, 2.0, 2.1, 2.2, 2.3, 2.4, 2.5, 2.6))


def test_the_decision_is_made_on_one_thread_and_leaves_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "INSTRUCTIONS", ("avx2",))
    monkeypatch.setattr(precision, "MARGIN", float("inf"))  # a step of nothing takes as long as chance says
    seen: set[int] = set()
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        precision.check_bfloat16([lambda: seen.add(torch.get_num_threads())] * 4)
        after = torch.get_num_threads()
    finally:
        torch.set_num_threads(before)
    assert (seen, after) == ({1}, 2)
