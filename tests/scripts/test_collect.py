"""scripts/collect.py beyond the happy path: where records go, and what an interruption leaves."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from datasets.store import RecordStore
from tests.scripts.in_process import ROOT, run_script

TASKS = """
- {name: first, operator: matmul, parameters: {m: 32, k: 48, n: 64}}
- {name: second, operator: matmul, parameters: {m: 24, k: 64, n: 32}}
"""
NUM_TRIALS = 12
# Nothing drawn depends on a measured time, so that two real runs can be compared.
OVERRIDES = [
    "tasks=tasks.yaml",
    f"collect.num_trials={NUM_TRIALS}",
    "collect.round_size=5",
    "collect.mutated_share=0",
    "collect.repeat_share=0",
    "measure.budget_s=0.005",
    "measure.min_repeat_s=0.0005",
]
PATIENCE_S = 60.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tasks.yaml").write_text(TASKS)
    return tmp_path


def test_a_database_url_makes_no_folder_and_shows_no_password(folder: Path) -> None:
    url = "postgresql://me:secret@127.0.0.1:1/records"
    finished = run_script("collect", folder, "tasks=tasks.yaml", f"store={url}")
    assert finished.returncode == 2, finished.stderr
    assert len(finished.stderr.strip().splitlines()) == 1
    assert "record store" in finished.stderr
    assert "secret" not in finished.stderr + finished.stdout
    assert sorted(path.name for path in folder.iterdir()) == ["run", "tasks.yaml"]


def test_a_tiny_collection_takes_the_first_task_of_any_list(folder: Path) -> None:
    finished = run_script("collect", folder, "tasks=tasks.yaml", "debug=tiny", "store=mine.db")
    assert finished.returncode == 0, finished.stderr
    with RecordStore(folder / "mine.db") as store:
        assert {record.task for record in store.records(all_targets=True)} == {"first"}
        assert store.count() == 8
    refused = run_script("collect", folder, "tasks=tasks.yaml", "num_tasks=0")
    assert "num_tasks must be at least 1, got 0" in refused.stderr


@pytest.mark.slow
def test_a_killed_collection_leaves_no_process_and_goes_on_where_it_was(folder: Path) -> None:
    for num_records in (3, 14):
        kill_after(folder, num_records)
        with RecordStore(folder / "killed.db") as store:
            assert num_records <= store.count() < 2 * NUM_TRIALS
            assert store.verify() == []
    for name in ("killed", "whole"):
        finished = run_script("collect", folder, f"store={name}.db", *OVERRIDES)
        assert finished.returncode == 0, finished.stderr
    assert trials(folder / "killed.db") == trials(folder / "whole.db")
    assert len(trials(folder / "whole.db")) == 2 * NUM_TRIALS


@pytest.mark.slow
def test_flushing_the_caches_is_recorded_and_collected_anew(folder: Path) -> None:
    for flush in ("false", "true", "true"):
        finished = run_script("collect", folder, "store=mine.db", f"measure.flush_cache={flush}", *OVERRIDES)
        assert finished.returncode == 0, finished.stderr
    with RecordStore(folder / "mine.db") as store:
        records = store.records(all_targets=True)
    assert [record.cache for record in records] == ["warm"] * 2 * NUM_TRIALS + ["flushed"] * 2 * NUM_TRIALS
    assert all(record.compiler.startswith("LLVM ") for record in records)


def kill_after(folder: Path, num_records: int) -> None:
    """Run the script in a group of its own, and kill its leader only once so many records are stored."""
    command = [sys.executable, str(ROOT / "scripts" / "collect.py"), "store=killed.db", *OVERRIDES]
    process = subprocess.Popen(
        [*command, "hydra.run.dir=run"], cwd=folder, stdout=subprocess.DEVNULL, start_new_session=True
    )
    try:
        wait_until(lambda: process.poll() is not None or num_stored(folder / "killed.db") >= num_records)
        workers = psutil.Process(process.pid).children(recursive=True)
        assert workers
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    wait_until(lambda: not any(is_alive(worker) for worker in workers))


def is_alive(process: psutil.Process) -> bool:
    """A zombie only waits for its new parent to take note."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def num_stored(path: Path) -> int:
    if not path.exists():
        return 0
    connection = sqlite3.connect(path)
    try:
        return int(connection.execute("SELECT count(*) FROM records").fetchone()[0])
    except sqlite3.OperationalError:  # the tables are just being made
        return 0
    finally:
        connection.close()


def wait_until(is_true: Callable[[], bool]) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while not is_true():
        assert time.monotonic() < end_s, f"waited {PATIENCE_S} s in vain"
        time.sleep(0.01)


def trials(path: Path) -> list[tuple[str, int, str, str]]:
    with RecordStore(path) as store:
        records = store.records(all_targets=True)
    return sorted((record.task, record.trial, record.candidate_key, record.source) for record in records)
