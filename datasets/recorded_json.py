"""JSON files of recorded spaces: parsed, and taken apart, with a sentence about what is wrong."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def parse_json(text: str, path: Path | str) -> Any:
    """The value; ValueError names the file or line if the text is no JSON, cut off, or nested too deeply."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError(f"{path} is nested too deeply to hold a recorded space") from None
    except ValueError as error:  # of numbers with thousands of digits, too
        raise ValueError(f"{path} is not JSON, or cut off: {error}") from None


def as_number(value: object, what: str) -> float:
    """ValueError names what it is that has to be a number."""
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{what} must be a number, got {shown(value)}") from None


def benchmark_time(holder: Mapping[str, Any], name: str, runs: str) -> float:
    """What a trial took once it was compiled: as it is told or, where it is not, all its runs together."""
    if holder.get(name) is not None:
        return as_number(holder[name], name)
    times = holder.get(runs) or []
    if not isinstance(times, list):
        raise ValueError(f"{runs} must be a list, got {shown(times)}")
    return sum(as_number(each, f"each of {runs}") for each in times)


def member(holder: object, name: str, kind: type, what: str) -> Any:
    """A part that an object must have; ``kind`` is ``dict``, ``list`` or ``str``."""
    found = holder.get(name) if isinstance(holder, Mapping) else None
    if not isinstance(found, kind):
        words: dict[type, str] = {dict: "an object", list: "a list", str: "a word"}
        raise ValueError(f"{what} must have {name}, {words[kind]}")
    return found


def shown(value: object) -> str:
    """A word or number, cut short; of a list or an object that it is one, as it may be nested deeply."""
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, list):
        return "a list"
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:40]}..."
