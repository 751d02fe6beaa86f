"""Sittings go on until enough of them found the cores near each other, and are kept for the next call."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeAlias, cast

import numpy as np
import pytest

from codegen.measure.config import MeasureConfig
from codegen.measure.measurement import Failure, Measurement
from scripts.suites.end_use import sittings as sittings_module
from scripts.suites.end_use.sittings import (
    MAX_WAIT_S,
    Contest,
    Sitting,
    counting_sittings,
    hold_sittings,
    near_sittings,
    wait_for_near,
)

State: TypeAlias = tuple[float | None, ...]

NEAR: State = (4e-8, 5e-8)
FAR: State = (4e-8, 2e-7)
"""Before and after a sitting."""


def contest(folder: Path, workload: str = "task") -> Contest:
    candidates = {name: {"name": name} for name in ("good", "bad")}
    return Contest(workload, cast(Any, None), cast(Any, SimpleNamespace(target=None)), candidates, 3, folder)


class Machine:
    """In which sittings find the cores in one state after the other, and every second candidate fails."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *states: State) -> None:
        self.seen = iter([exchange_s for state in states for exchange_s in (state[0], state[-1])])
        self.rounds = [list(state[1:-1]) for state in states]
        self.latencies_s: Sequence[float | None] = (1.0, None)
        self.asked: list[str] = []
        pool = SimpleNamespace(remeasure_interleaved=self._remeasured, readings=self._readings)
        meter = SimpleNamespace(exchange_s=lambda: next(self.seen))
        monkeypatch.setattr(sittings_module, "MeasurePool", lambda *options: nullcontext(pool))
        monkeypatch.setattr(sittings_module, "ExchangeMeter", lambda target: meter)
        monkeypatch.setattr(sittings_module, "wait_for_near", lambda *options: self.asked.append("wait"))
        monkeypatch.setattr(sittings_module, "job_of", lambda operator, space, named, seed: named)

    def _remeasured(self, jobs: Sequence[Any], num_rounds: int) -> list[Any]:
        assert (len(jobs), num_rounds) == (2, 3)
        self.asked.append("sit")
        failed = Measurement((), Failure("runtime", "lost"))
        return [
            SimpleNamespace(summary=s and SimpleNamespace(median_s=s), measurement=failed)
            for s in self.latencies_s
        ]

    def _readings(self, target: object) -> list[Any]:
        """One of before the sitting, which is none of its rounds."""
        rounds = self.rounds.pop(0)
        return [np.array([1.0, 9.0]), *(np.array([1.0, s]) for s in (rounds or [0.0, 0.0, 0.0]))]


def exchanges(sittings: Sequence[Sitting]) -> list[State]:
    return [sitting.exchange_s for sitting in sittings]


def test_sittings_are_near_that_found_the_cores_so_all_the_time() -> None:
    near, far, unseen, between = (Sitting({}, each) for each in (NEAR, FAR, (4e-8, None), (4e-8, 2e-7, 4e-8)))
    assert near_sittings([near, far, unseen, between], 4e-8) == [near]
    assert near_sittings([unseen], float("inf")) == [unseen]


def test_of_sittings_that_are_not_near_the_nearest_count() -> None:
    near, far, apart = (Sitting({}, each) for each in (NEAR, FAR, (3e-7, 3e-7)))
    assert counting_sittings([apart, near, near, near], 4e-8, 2) == [near, near]
    assert counting_sittings([apart, far, near], 4e-8, 2) == [near]
    assert counting_sittings([apart, far, far], 4e-8, 2) == [far, far]
    assert counting_sittings([near, far, near], 4e-8, 3) == [near, near]


def test_sittings_go_on_until_enough_of_them_found_the_cores_near(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    machine = Machine(monkeypatch, NEAR, FAR, NEAR)
    (counting,) = hold_sittings([contest(tmp_path)], MeasureConfig(), 2)
    assert exchanges(counting) == [NEAR, NEAR]
    assert counting[0].latencies_s == {"good": 1.0}  # the other one failed
    assert machine.asked == ["wait", "sit"] * 3
    # They are kept: none has to be repeated, and one more is one more.
    machine = Machine(monkeypatch)
    assert hold_sittings([contest(tmp_path)], MeasureConfig(), 2) == [counting]
    assert machine.asked == []
    machine = Machine(monkeypatch, NEAR)
    (counting,) = hold_sittings([contest(tmp_path)], MeasureConfig(), 3)
    assert exchanges(counting) == [NEAR, NEAR, NEAR]
    assert machine.asked == ["wait", "sit"]
    (path,) = tmp_path.iterdir()
    assert [tuple(each["exchange_s"]) for each in json.loads(path.read_text())] == [NEAR, FAR, NEAR, NEAR]


def test_sittings_of_other_candidates_or_rounds_are_others_and_stay(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    Machine(monkeypatch, NEAR)
    first = hold_sittings([contest(tmp_path)], MeasureConfig(), 1)
    one = contest(tmp_path)
    assert replace(one, num_rounds=4).path != one.path
    other = replace(one, candidates={"good": {}, "worse": {}})
    machine = Machine(monkeypatch, NEAR)
    hold_sittings([other], MeasureConfig(), 1)
    assert machine.asked == ["wait", "sit"]
    assert hold_sittings([one], MeasureConfig(), 1) == first


def test_cores_may_be_far_as_a_round_begins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    between = (4e-8, 4e-8, 2e-7, 4e-8, 4e-8)
    Machine(monkeypatch, between, NEAR)
    (counting,) = hold_sittings([contest(tmp_path)], MeasureConfig(), 1)
    assert exchanges(counting) == [NEAR]


def test_contests_take_turns_and_say_together_what_is_near(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    apart = (2e-7, 2e-7)
    # The first contest has what it wants until the second one finds the cores nearer.
    machine = Machine(monkeypatch, apart, NEAR, NEAR)
    found = hold_sittings([contest(tmp_path, "a"), contest(tmp_path, "b")], MeasureConfig(), 1)
    assert [exchanges(counting) for counting in found] == [[NEAR], [NEAR]]
    assert len(machine.asked) == 6
    assert [len(json.loads(path.read_text())) for path in sorted(tmp_path.iterdir())] == [2, 1]


def test_cores_that_stay_far_or_unseen_end_the_sittings_all_the_same(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    unseen = (None, None)
    Machine(monkeypatch, unseen, unseen)
    assert exchanges(hold_sittings([contest(tmp_path / "a")], MeasureConfig(), 2)[0]) == [unseen, unseen]
    Machine(monkeypatch, NEAR, FAR, FAR, FAR)
    assert exchanges(hold_sittings([contest(tmp_path / "b")], MeasureConfig(), 2)[0]) == [NEAR]


def test_a_sitting_in_which_all_failed_is_not_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    machine = Machine(monkeypatch, NEAR)
    machine.latencies_s = (None, None)
    with pytest.raises(ValueError, match="no schedule of task could be timed again: lost"):
        hold_sittings([contest(tmp_path)], MeasureConfig(), 1)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_holds_no_sittings_is_refused_and_stays(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    Machine(monkeypatch, NEAR)
    one = contest(tmp_path)
    one.path.write_text("[{}]")
    with pytest.raises(ValueError, match="holds no sittings; without it they are held again"):
        hold_sittings([one], MeasureConfig(), 1)
    assert one.path.read_text() == "[{}]"


def test_waiting_for_near_cores_ends_when_they_are_or_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 0.0

    def sleep(seconds: float) -> None:
        nonlocal now_s
        now_s += seconds

    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setattr(time, "perf_counter", lambda: now_s)
    seen = iter([2e-7, None, 4e-8])
    wait_for_near(cast(Any, SimpleNamespace(exchange_s=lambda: next(seen))), 4e-8)
    assert 0 < now_s < MAX_WAIT_S
    near_s = now_s
    wait_for_near(cast(Any, None), float("inf"))  # nobody knows what is near
    assert now_s == near_s
    wait_for_near(cast(Any, SimpleNamespace(exchange_s=lambda: 2e-7)), 4e-8)
    assert now_s == pytest.approx(near_s + MAX_WAIT_S, abs=1.0)
