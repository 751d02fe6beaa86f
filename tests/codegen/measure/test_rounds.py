"""Rounds are done while the machine is as fast as usual, and dropped whole where it was not."""

from __future__ import annotations

import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codegen.measure import rounds
from codegen.measure.rounds import MAX_ATTEMPTS, settle, take_rounds
from codegen.measure.steadiness import FREE_WAIT_S, PAUSE_S
from tests.codegen.measure.changing_machine import SLOW_CORE, Machine, Told, experienced, slow_between

TURN_S = 0.1
Turns = list[tuple[str, float]]


@pytest.fixture(autouse=True)
def _nothing_spins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "settle", lambda: None)


class Player:
    """Its times are the moments at which its turns begin; ``turns`` has those of all players."""

    def __init__(self, name: str, machine: Machine, turns: Turns) -> None:
        self.times_s: list[float] = []
        self._name, self._machine, self._turns = name, machine, turns

    def take_turn(self) -> None:
        self._turns.append((self._name, self._machine.now_s))
        self.times_s.append(self._machine.now_s)
        self._machine.now_s += TURN_S


class Scripted:
    """Its turns take what they are told."""

    def __init__(self, times_s: list[float]) -> None:
        self.times_s: list[float] = []
        self._left_s = iter(times_s)

    def take_turn(self) -> None:
        self.times_s.append(next(self._left_s))


def two_players(machine: Machine) -> tuple[list[Player], Turns]:
    turns: Turns = []
    return [Player("a", machine, turns), Player("b", machine, turns)], turns


def test_without_a_watch_every_round_counts_and_every_other_is_reversed() -> None:
    machine = slow_between(0.0, 1e9, SLOW_CORE)
    players, turns = two_players(machine)
    assert take_rounds(players, 3) == 0
    assert [name for name, _ in turns] == ["a", "b", "b", "a", "a", "b"]
    for player, own in zip(players, "ab", strict=True):
        assert player.times_s == [start_s for name, start_s in turns if name == own]


def test_a_round_that_the_machine_was_slow_in_is_dropped_for_all_and_done_again() -> None:
    machine = slow_between(10.25, 10.45, SLOW_CORE)
    watch = experienced(machine)
    machine.now_s = 10.0
    players, turns = two_players(machine)
    assert take_rounds(players, 3, watch, lambda: machine.now_s) == 0
    assert [name for name, _ in turns] == ["a", "b", "b", "a", "b", "a", "a", "b"]
    starts_s = [start_s for _, start_s in turns]
    assert min(starts_s[4:]) >= 10.45
    assert players[0].times_s == [starts_s[0], starts_s[5], starts_s[6]]
    assert players[1].times_s == [starts_s[1], starts_s[4], starts_s[7]]


def test_rounds_wait_for_a_steady_machine() -> None:
    machine = slow_between(10.0, 11.0, SLOW_CORE)
    watch = experienced(machine)
    machine.now_s = 10.0
    players, turns = two_players(machine)
    assert take_rounds(players, 1, watch, lambda: machine.now_s) == 0
    assert len(turns) == 2
    assert 11.0 <= turns[0][1] < 11.1


@pytest.mark.parametrize("share", [0.25, 1.0])
def test_a_machine_that_stays_slow_costs_a_share_and_is_told(share: float) -> None:
    machine = slow_between(1.0, 1e9, SLOW_CORE)
    watch = experienced(machine, max_wait_s=0.3, max_share=share)
    machine.now_s = 1.0
    players, turns = two_players(machine)
    assert take_rounds(players, 6, watch, lambda: machine.now_s) == 6
    assert [len(player.times_s) for player in players] == [6, 6]
    assert 2 * 6 < len(turns) <= 2 * 6 * MAX_ATTEMPTS
    second_looks_s = 2 * len(turns) / 2 * PAUSE_S
    kept_s = 1.0 + 2 * 6 * TURN_S
    assert machine.now_s <= kept_s + FREE_WAIT_S + share * kept_s + second_looks_s + PAUSE_S


@pytest.mark.parametrize(
    ("told", "kept", "num_unsteady"),
    [
        ((0.8, 0.9), 0, 0),
        ((0.8, 1.5, 0.7, 0.6), 1, 0),
        ((1.6, 0.9, 0.8, 0.8), 1, 0),
        ((1.5, 1.5, 1.2, 1.1, 1.4, 1.3), 1, 1),
        ((1.1, 1.2, 1.2, 1.6, 1.4, 1.3), 0, 1),
    ],
)
def test_the_steadiest_attempt_at_a_round_counts(
    told: tuple[float, ...], kept: int, num_unsteady: int
) -> None:
    machine = Machine(lambda now_s: SLOW_CORE)
    watch = Told(0.5, 0.5, *told)
    players, turns = two_players(machine)
    assert take_rounds(players, 2, watch, lambda: machine.now_s) == num_unsteady
    assert watch.told == []
    attempt = turns[2 * (1 + kept) : 2 * (2 + kept)]
    assert attempt == [("b", players[1].times_s[1]), ("a", players[0].times_s[1])]


def test_rounds_are_not_repeated_beyond_what_may_be_spent() -> None:
    machine = Machine(lambda now_s: SLOW_CORE)
    watch = Told(1.5, 1.5, 1.4, 1.3, 0.9, 1.2, num_repeats=1)
    players, turns = two_players(machine)
    assert take_rounds(players, 2, watch, lambda: machine.now_s) == 2
    assert watch.told == []
    assert len(turns) == 6


@given(
    st.lists(st.floats(0.5, 1.5), min_size=2 * MAX_ATTEMPTS, max_size=2 * MAX_ATTEMPTS),
    st.lists(st.floats(0.1, 1.0), min_size=2 * MAX_ATTEMPTS, max_size=2 * MAX_ATTEMPTS),
)
def test_which_attempt_counts_depends_on_the_probes_alone(told: list[float], times_s: list[float]) -> None:
    looks = [max(pair) for pair in zip(told[::2], told[1::2], strict=True)]
    num_attempts = next((n for n, look in enumerate(looks, start=1) if look <= 1), MAX_ATTEMPTS)
    kept = looks.index(min(looks[:num_attempts]))
    ours, theirs = (Scripted(times_s[who::2]) for who in range(2))
    assert take_rounds([ours, theirs], 1, Told(*told)) == (looks[kept] > 1)
    assert (ours.times_s, theirs.times_s) == ([times_s[2 * kept]], [times_s[2 * kept + 1]])


def test_threads_settle_before_every_look_and_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    happened: list[str] = []

    class Noted(Told):
        def wait(self) -> float:
            happened.append("wait")
            return super().wait()

        def look(self) -> float:
            happened.append("look")
            return super().look()

    class Turn(Scripted):
        def take_turn(self) -> None:
            happened.append("turn")
            super().take_turn()

    monkeypatch.setattr(rounds, "settle", lambda: happened.append("settle"))
    take_rounds([Turn([1.0]), Turn([1.0])], 1, Noted(0.5, 0.5))
    steps = [step for step in happened if step != "settle"]
    assert steps == ["wait", "turn", "turn", "look"]
    assert happened == [each for step in steps for each in ("settle", step)]


def test_a_turn_waits_for_threads_that_spin() -> None:
    end_s = time.perf_counter() + 0.04

    def spin() -> None:
        while time.perf_counter() < end_s:
            pass

    thread = threading.Thread(target=spin)
    thread.start()
    settle()
    assert time.perf_counter() >= end_s
    thread.join()
