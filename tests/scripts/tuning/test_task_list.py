"""Tuning a list of tasks: what is refused before anything is measured."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from codegen.measure.pool import Finalist
from scripts.options.groups import listed_tasks
from scripts.tuning.measured_search import PoolMeasurer
from tests.scripts.tiny import Scripts, refusal

TASK = "- {{name: {name}, operator: matmul, parameters: {{m: 8, k: 8, n: {n}}}}}\n"


@pytest.mark.parametrize("name", ["../out", "/absolute", "in/side", ".."])
def test_a_name_that_leads_out_of_the_folder_is_refused(
    scripts: Scripts, capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str
) -> None:
    tasks = tmp_path / "tasks.yaml"
    tasks.write_text(TASK.format(name=name, n=8) + TASK.format(name="plain", n=16))
    said = refusal(capsys, scripts, "tune", f"tasks={tasks}", "model=constant", "search=random")
    assert "must hold no /" in said
    assert repr(name) in said


@pytest.mark.usefixtures("equal_times")
def test_a_task_whose_finalists_all_fail_leaves_the_others_their_kernels(
    scripts: Scripts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    measure = PoolMeasurer.measure_finalists

    def failing(self: PoolMeasurer, *arguments: Any) -> list[Finalist]:
        return [] if self.operator.flops == 2 * 8**3 else measure(self, *arguments)

    monkeypatch.setattr(PoolMeasurer, "measure_finalists", failing)
    tasks = tmp_path / "tasks.yaml"
    tasks.write_text(TASK.format(name="broken", n=8) + TASK.format(name="fine", n=16))
    found = scripts("tune", "run", f"tasks={tasks}", "debug=tiny", "model=constant", "search=random")
    assert (found["num_tasks"], found["num_tuned"], found["trials_broken"]) == (2, 1, 6)
    assert found["latency_s"] == found["latency_s_fine"] > 0
    assert (scripts.folder / "run" / "fine" / "kernel" / "kernel.json").exists()
    said = capsys.readouterr().out
    assert "broken: no schedule could be measured" in said
    assert re.search(r"\d [um]s", said.partition("1 of 2 tasks")[2])
    assert "are in a folder of its name in " in said


def test_a_list_ends_when_its_seconds_are_used_up_and_goes_on_with_more(
    scripts: Scripts, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tasks = tmp_path / "tasks.yaml"
    tasks.write_text(TASK.format(name="first", n=8) + TASK.format(name="second", n=16))
    arguments = [f"tasks={tasks}", "debug=tiny", "model=constant", "search=random"]
    found = scripts("tune", "run", *arguments, "search.max_elapsed_s=0.0001")
    assert (found["stop_reason"], found["trials"], found["num_tuned"]) == ("seconds", 1, 1)
    said = capsys.readouterr().out
    assert "the 100 us were used up" in said
    assert "second: the budget ended before its first trial" in said
    found = scripts("tune", "run", *arguments, "search.max_elapsed_s=600")
    assert (found["stop_reason"], found["trials"], found["num_tuned"]) == ("trials", 12, 2)
    assert 0 < found["planning_s"] < found["search_s"]
    assert 0 < found["compile_s"] < found["search_s"]
    assert "12 trials in " in capsys.readouterr().out


@pytest.mark.usefixtures("equal_times")
def test_tasks_of_a_list_that_stop_early_are_named(
    scripts: Scripts, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tasks = tmp_path / "tasks.yaml"
    tasks.write_text(TASK.format(name="first", n=8) + TASK.format(name="second", n=16))
    arguments = [f"tasks={tasks}", "debug=tiny", "model=constant", "search=random"]
    early = ["search.trials=40", "search.stop_gain=0.01", "search.gain_window=3"]
    found = scripts("tune", "run", *arguments, *early)
    assert (found["stop_reason"], found["trials"]) == ("gain", 12)
    assert "stopped early, first, second: going by the last 3, the next plan" in capsys.readouterr().out


def test_a_task_that_is_no_operator_is_named_before_any_is_tuned(tmp_path: Path) -> None:
    path = tmp_path / "tasks.yaml"
    path.write_text("- {name: wrong, operator: nothing, parameters: {}}\n")
    with pytest.raises(ValueError, match=r"tasks\.yaml, task wrong: operator must be one of matmul, "):
        listed_tasks(path, None)
