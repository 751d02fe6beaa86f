"""SIGKILL for programs that are to go on where they were."""

from __future__ import annotations

import json
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


def total_bytes(paths: Sequence[Path]) -> int:
    """Of the files that are there."""
    return sum(path.stat().st_size for path in paths if path.exists())


def lines_without_times(path: Path) -> list[dict[str, Any]]:
    """What a journal holds, but for when."""
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    for line in lines:
        line.pop("elapsed_s", None)
    return lines
