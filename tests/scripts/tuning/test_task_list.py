"""Tuning a list of tasks: what is refused before anything is measured."""

from __future__ import annotations

from pathlib import Path

import pytest

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
