"""SIGKILL for programs that are to go on where they were."""

from __future__ import annotations

import json
import random
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def kill_when_longer(process: subprocess.Popen[bytes], paths: Sequence[Path], num_bytes: int) -> None:
    """SIGKILL as soon as the files together have grown past ``num_bytes``, unless the process ends before."""
    while process.poll() is None:
        if total_bytes(paths) > num_bytes:
            process.kill()
            break
        time.sleep(0.0005)
    process.wait(timeout=60)


def output_despite_kills(
    command: Sequence[str], root: Path, paths: Sequence[Path], most_bytes: int, dice: random.Random
) -> tuple[list[str], int]:
    """The words that a command prints which is killed every ``most_bytes`` of its files, and how often it is.

    Run anew until it comes to its end; AssertionError if it ends in another way.
    """
    num_killed, output = 0, b""
    while not output:
        environment = {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE)
        kill_when_longer(process, paths, total_bytes(paths) + dice.randrange(most_bytes))
        assert process.returncode in (0, -9)
        num_killed += process.returncode == -9
        assert process.stdout is not None
        output = process.stdout.read()
    return output.decode().split(), num_killed


def total_bytes(paths: Sequence[Path]) -> int:
    """Of the files that are there."""
    return sum(path.stat().st_size for path in paths if path.exists())


def lines_without_times(path: Path) -> list[dict[str, Any]]:
    """What a journal holds, but for when."""
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    for line in lines:
        line.pop("elapsed_s", None)
    return lines
