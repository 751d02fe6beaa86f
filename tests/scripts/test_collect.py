"""scripts/collect.py beyond the happy path: where records go, and what an interruption leaves."""

from __future__ import annotations

from pathlib import Path

from tests.scripts.in_process import run_script

TASKS = "- {name: only, operator: softmax, parameters: {rows: 8, cols: 16}}\n"


def test_a_database_url_makes_no_folder_and_shows_no_password(tmp_path: Path) -> None:
    (tmp_path / "tasks.yaml").write_text(TASKS)
    url = "postgresql://me:secret@127.0.0.1:1/records"
    finished = run_script("collect", tmp_path, "tasks=tasks.yaml", f"store={url}")
    assert finished.returncode == 2, finished.stderr
    assert len(finished.stderr.strip().splitlines()) == 1
    assert "record store" in finished.stderr
    assert "secret" not in finished.stderr + finished.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "tasks.yaml"]
