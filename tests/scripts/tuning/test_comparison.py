"""The winner is compared with libraries on a machine that is looked at, and a slow one is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.tuning import winner
from tests.codegen.measure.changing_machine import SlowSince
from tests.scripts.tiny import Scripts

TINY = ["debug=tiny", "model=constant", "search=random"]
LOOKING = ["measure.steady_wait_s=0.01", "measure.steady_share=0.125"]
ONE = ["task=matmul", "task.m=8", "task.k=8", "task.n=8"]
TASK = "- {{name: {name}, operator: matmul, parameters: {{m: 8, k: 8, n: {n}}}}}\n"


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> SlowSince:
    slow = SlowSince()
    monkeypatch.setattr(winner, "watching", slow)
    return slow


def test_a_tuned_operator_is_compared_by_what_its_trials_found_usual(
    scripts: Scripts, machine: SlowSince, capsys: pytest.CaptureFixture[str]
) -> None:
    found = scripts("tune", "run", *ONE, *TINY, *LOOKING)
    assert found["num_unsteady_rounds"] == 20
    assert "slower than usual in 20 of the 20 rounds" in capsys.readouterr().out
    assert (machine.num_contexts, machine.max_wait_s, machine.max_share) == (1, 0.01, 0.125)
    assert len(machine.remembered) >= found["trials"]
    assert 0 < machine.worked_s < found["wall_s"]


def test_all_tasks_of_a_list_share_one_watch(
    scripts: Scripts, machine: SlowSince, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    tasks = tmp_path / "tasks.yaml"
    tasks.write_text(TASK.format(name="first", n=8) + TASK.format(name="second", n=16))
    found = scripts("tune", "run", f"tasks={tasks}", *TINY, *LOOKING)
    said = capsys.readouterr().out
    for name in ("first", "second"):
        assert f"{name}: the machine was slower than usual in 20 of the 20 rounds" in said
    assert (machine.num_contexts, machine.max_wait_s, machine.max_share) == (1, 0.01, 0.125)
    assert len(machine.remembered) >= found["trials"]
    assert 0 < machine.worked_s < found["wall_s"]


def test_nobody_looks_and_nothing_is_told_where_the_settings_do_without(
    scripts: Scripts, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> None:
        raise AssertionError("no probe is wanted")

    monkeypatch.setattr("codegen.measure.steadiness.SteadinessProbe", refuse)
    found = scripts("tune", "run", *ONE, *TINY)
    assert found["num_unsteady_rounds"] == 0
    assert "slower than usual" not in capsys.readouterr().out
