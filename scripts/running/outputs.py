"""What a run leaves behind: files that are either whole or absent, and the version of the code."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import subprocess
import tomllib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any, TypeAlias

Metrics: TypeAlias = Mapping[str, float | int | str]


def write_text(path: Path, text: str) -> None:
    """Replace the file in one step: a run that is killed leaves the old text or the new, never half.

    OSError names the path, and leaves nothing beside it.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_text(text)
        os.replace(partial, path)
    except OSError as error:
        with suppress(OSError):
            partial.unlink()
        raise OSError(error.errno, error.strerror, str(path)) from error


def write_rows(path: Path, kind: type, rows: Iterable[Any]) -> None:
    """Write instances of a dataclass as CSV: a column for each of its fields, None as an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([each.name for each in fields(kind)])
    writer.writerows(map(astuple, rows))
    write_text(path, text.getvalue())


def write_metrics(path: Path, metrics: Metrics) -> None:
    """Write a flat JSON object of finite numbers and strings, sorted by name.

    Truth values become 1 and 0, so that every value can be plotted or compared.

    Raises:
        ValueError: a value is neither a finite number nor a string; it is named.
    """
    write_text(
        path, json.dumps({name: _plain(name, metrics[name]) for name in sorted(metrics)}, indent=2) + "\n"
    )


def code_version(root: Path) -> str:
    """``git describe`` of the sources, or the package's version where there is no repository."""
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--tags"],
            cwd=root,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return str(tomllib.loads((root / "pyproject.toml").read_text())["project"]["version"])
    return described.stdout.strip()


def _plain(name: str, value: object) -> float | int | str:
    if isinstance(value, str):
        return value
    if hasattr(value, "item"):  # a NumPy or torch scalar
        value = value.item()
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float) and math.isfinite(value):
        return value
    raise ValueError(f"metric {name} must be a finite number or a string, got {value!r}")
