"""Suites of tuned kernels look at the machine: one watch for all workloads of a run."""

from __future__ import annotations

import pytest

from scripts.suites.memory import standings
from scripts.suites.operators import suite, timing
from tests.codegen.measure.changing_machine import SlowSince
from tests.scripts.tiny import Scripts

TINY = ["debug=tiny", "model=constant", "search=random", "search.trials=2"]
LOOKING = ["measure.steady_wait_s=0.01", "measure.steady_share=0.125"]


def looked_at(machine: SlowSince) -> tuple[int, float, float]:
    return machine.num_contexts, machine.max_wait_s, machine.max_share


@pytest.mark.slow
def test_operators_share_a_watch_and_slow_rounds_are_told(
    scripts: Scripts, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = SlowSince()
    monkeypatch.setattr(suite, "watching", machine)
    monkeypatch.setattr(timing, "NUM_RETRIES", 0)  # of which a busy machine takes many
    shapes = ["matmul_96x96x96", "matmul_97x97x97"]
    scripts("benchmark", "run", "suite=awkward", *TINY, *LOOKING, f"kernels.workloads={shapes}")
    assert looked_at(machine) == (1, 0.01, 0.125)
    said = capsys.readouterr().out
    for name in shapes:
        assert f"{name}: the machine was slower than usual in 20 of the 20 rounds" in said


@pytest.mark.slow
def test_operators_of_memory_share_a_watch_over_all_turns(
    scripts: Scripts, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = SlowSince()
    monkeypatch.setattr(standings, "watching", machine)
    scripts("benchmark", "run", "suite=memory", *TINY, *LOOKING)
    assert looked_at(machine) == (1, 0.01, 0.125)
    num = standings.NUM_TURNS * standings.ROUNDS_OF_A_TURN
    said = capsys.readouterr().out
    assert f"sum_128x768: the machine was slower than usual in {num} of the {num} rounds" in said
