"""Which comparisons are made again."""

from __future__ import annotations

from scripts.suites.operators.timing import NARROW, _time_disturbed_again, relative_width
from tests.scripts.suites.operators.standing_examples import peer

CALM, RESTLESS = [1.0, 1.01] * 5, [1.0, 2.0] * 5


def test_a_comparison_is_as_unsteady_as_ours_or_the_fastest_library() -> None:
    assert relative_width({"looprank": peer(CALM)}) < NARROW
    assert relative_width({"looprank": peer(RESTLESS), "torch": peer(CALM)}) > NARROW
    slow_and_restless = [9 * each for each in RESTLESS]
    assert relative_width({"looprank": peer(CALM), "a": peer(CALM), "b": peer(slow_and_restless)}) < NARROW


def test_what_was_disturbed_is_timed_again_until_it_is_steady() -> None:
    turns = {"calm": [], "restless": [RESTLESS, CALM], "hopeless": [RESTLESS, RESTLESS, RESTLESS]}
    compared = {name: {"looprank": peer((times or [CALM])[0])} for name, times in turns.items()}
    timed: list[str] = []

    def time_one(name: str) -> dict:  # type: ignore[type-arg]
        timed.append(name)
        return {"looprank": peer(turns[name][timed.count(name)])}

    _time_disturbed_again(compared, time_one)
    assert timed == ["restless", "hopeless", "hopeless"]
    assert relative_width(compared["restless"]) < NARROW < relative_width(compared["hopeless"])
