"""Cache files of Kernel Tuner: every configuration that it measured, as JSON, in milliseconds."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from datasets.files import replace_text
from datasets.recorded import (
    FAILURES,
    RecordedRow,
    RecordedTable,
    Value,
    failure_kind,
    read_text,
    recorded_table,
)

FAILURE_WORDS = {
    "compile": "CompilationFailedConfig",
    "constraints": "InvalidConfig",
    "runtime": "RuntimeFailedConfig",
    "timeout": "RuntimeFailedConfig",
    "correctness": "RuntimeFailedConfig",
}
"""Kernel Tuner has fewer kinds of failure than we do."""


def read_kernel_tuner(path: Path) -> RecordedTable:
    """A cache, also one without its last brackets, as Kernel Tuner leaves it while it runs.

    Raises:
        ValueError: the file is cut off inside an entry, is no cache, or holds only failures.
    """
    document = _parse(read_text(path), path)
    try:
        knobs, entries = document["tune_params_keys"], document["cache"]
        objective = str(document.get("objective", "time"))
        rows = [_row(entry, knobs, objective) for entry in entries.values()]
        kernel, device = str(document["kernel_name"]), str(document["device_name"])
        knobs = [str(name) for name in knobs]
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
        raise ValueError(f"{path} is no cache of Kernel Tuner: {type(error).__name__} {error}") from None
    return recorded_table(kernel, device, knobs, rows)


def write_kernel_tuner(table: RecordedTable, path: Path, problem_size: Sequence[int] = (1,)) -> None:
    """A cache that Kernel Tuner's simulation mode replays."""
    cache = {}
    for number in range(len(table)):
        row = table.row(number)
        key = ",".join(str(row.configuration[name]) for name in table.knobs)
        cache[key] = {**row.configuration, **_outcome(row)}
    document = {
        "device_name": table.device,
        "kernel_name": table.kernel,
        "problem_size": list(problem_size),
        "tune_params_keys": list(table.knobs),
        "tune_params": dict(zip(table.knobs, map(list, table.values), strict=True)),
        "objective": "time",
        "cache": cache,
    }
    # Kernel Tuner takes a file that does not end in these brackets, line by line, for one that is still open.
    replace_text(path, json.dumps(document, indent=""))


def _parse(text: str, path: Path) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        try:
            return json.loads(text.rstrip().removesuffix(",") + "}}")
        except json.JSONDecodeError as error:
            raise ValueError(f"{path} is not JSON, or cut off: {error}") from None


def _row(entry: Mapping[str, Any], knobs: Sequence[str], objective: str) -> RecordedRow:
    configuration: dict[str, Value] = {name: entry[name] for name in knobs}
    told = entry[objective] if objective in entry else entry["__error__"]
    failure = _failure(told)
    return RecordedRow(
        configuration=configuration,
        time_s=None if failure else float(told) * 1e-3,
        failure=failure,
        compile_s=float(entry.get("compile_time") or 0.0) * 1e-3,
        benchmark_s=sum(float(entry.get(f"{part}_time") or 0.0) for part in ("benchmark", "verification"))
        * 1e-3,
    )


def _failure(told: object) -> Any:
    """Old caches mark a failure by 1e20 or by null, new ones by a word."""
    if isinstance(told, str):
        return failure_kind(told) or FAILURES["errorconfig"]
    return "runtime" if told is None or float(str(told)) >= 1e20 else None


def _outcome(row: RecordedRow) -> dict[str, Any]:
    times = {"compile_time": row.compile_s * 1e3, "benchmark_time": row.benchmark_s * 1e3}
    times |= {"verification_time": 0, "strategy_time": 0, "framework_time": 0}
    if row.failure is not None:
        return {"time": FAILURE_WORDS[row.failure], **times}
    assert row.time_s is not None
    return {"time": row.time_s * 1e3, "times": [row.time_s * 1e3], **times}
