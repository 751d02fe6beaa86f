"""scripts/collect.py beyond the happy path: where records go, and what an interruption leaves."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TASKS = "- {name: only, operator: softmax, parameters: {rows: 8, cols: 16}}\n"


def test_a_database_url_makes_no_folder_and_shows_no_password(tmp_path: Path) -> None:
    (tmp_path / "tasks.yaml").write_text(TASKS)
    url = "postgresql://me:secret@127.0.0.1:1/records"
    finished = collect(tmp_path, f"store={url}")
    assert finished.returncode == 2, finished.stderr
    assert len(finished.stderr.strip().splitlines()) == 1
    assert "record store" in finished.stderr
    assert "secret" not in finished.stderr + finished.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "tasks.yaml"]


def collect(folder: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts" / "collect.py"), "tasks=tasks.yaml", "hydra.run.dir=run"]
    return subprocess.run([*command, *overrides], cwd=folder, capture_output=True, text=True, check=False)
