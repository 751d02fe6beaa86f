"""Ctrl-C while a command still imports what it needs ends it without a traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
COMMANDS = sorted(path.name for path in (ROOT / "scripts").glob("*.py") if path.name != "__init__.py")


@pytest.mark.parametrize("command", COMMANDS)
def test_an_interruption_during_imports_is_quiet(command: str, tmp_path: Path) -> None:
    (tmp_path / "omegaconf.py").write_text("raise KeyboardInterrupt")  # every command imports it
    finished = run([str(ROOT / "scripts" / command)], tmp_path)
    assert (finished.returncode, finished.stdout, finished.stderr) == (130, "", "")


def test_an_interruption_that_a_library_tells_otherwise_is_quiet(tmp_path: Path) -> None:
    lines = [
        "import os, signal",
        "try:",
        "    os.kill(os.getpid(), signal.SIGINT)",
        "except KeyboardInterrupt:",
        "    raise ImportError('a bad installation') from None",
    ]
    (tmp_path / "omegaconf.py").write_text("\n".join(lines))
    finished = run([str(ROOT / "scripts" / "describe.py")], tmp_path)
    assert (finished.returncode, finished.stdout, finished.stderr) == (130, "", "")


def test_other_errors_still_have_their_traceback(tmp_path: Path) -> None:
    (tmp_path / "omegaconf.py").write_text("raise RuntimeError('a bug of ours')")
    finished = run([str(ROOT / "scripts" / "describe.py")], tmp_path)
    assert finished.returncode == 1
    assert finished.stderr.endswith("RuntimeError: a bug of ours\n")


def run(command: list[str], path: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(path)}
    return subprocess.run(
        [sys.executable, *command],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # as in a terminal
    )
