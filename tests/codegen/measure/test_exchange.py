"""Two cores pass a line to and fro, and neither waits for ever."""

from __future__ import annotations

import os

import pytest

from codegen.measure.detect import detect_target
from codegen.measure.exchange import ExchangeMeter
from codegen.measure.peak_loops import PinnedTeam

two_cores = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="there is one core")


@two_cores
def test_a_write_takes_longer_than_a_cycle_and_less_than_a_millisecond() -> None:
    meter = ExchangeMeter(detect_target(num_threads=2))
    found = [seconds for _ in range(20) if (seconds := meter.exchange_s()) is not None]
    assert found
    assert 1e-9 < min(found) < 1e-3


def test_one_core_has_nobody_to_write_to() -> None:
    assert ExchangeMeter(detect_target(num_threads=1)).exchange_s() is None


@two_cores
def test_a_core_whose_partner_never_answers_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def alone(team: PinnedTeam, work: object) -> list[float]:
        assert callable(work)
        work(0)
        return []

    monkeypatch.setattr(PinnedTeam, "run", alone)
    assert ExchangeMeter(detect_target(num_threads=2)).exchange_s() is None
