"""Cache files of Kernel Tuner: every configuration that it measured, as JSON, in milliseconds."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from codegen.measure.measurement import FailureKind
from datasets.files import replace_text
from datasets.recorded import (
    FAILURES,
    RecordedRow,
    RecordedTable,
    read_text,
    recorded_table,
)
from datasets.recorded_json import as_number, benchmark_time, member, parse_json, shown

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

    What was tuned for something else than ``time`` (GFLOP/s, energy) is read by its times all the same.

    Raises:
        ValueError: the file is cut off inside an entry, is no cache, has no times, or holds only failures.
    """
    document = _parse(read_text(path), path)
    what = f"{path} is no cache of Kernel Tuner: it"
    knobs = [str(name) for name in member(document, "tune_params_keys", list, what)]
    kernel, device = (member(document, name, str, what) for name in ("kernel_name", "device_name"))
    objective = document.get("objective", "time")
    objectives = [str(name) for name in (objective if isinstance(objective, list) else [objective])]
    rows = []
    for key, entry in member(document, "cache", dict, what).items():
        try:
            rows.append(_row(entry, knobs, objectives))
        except ValueError as error:
            raise ValueError(f"{path}, configuration {key}: {error}") from None
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
        return parse_json(text, path)
    except ValueError:
        return parse_json(text.rstrip().removesuffix(",") + "}}", path)


def _row(entry: object, knobs: Sequence[str], objectives: Sequence[str]) -> RecordedRow:
    if not isinstance(entry, Mapping):
        raise ValueError(f"it must be an object, got {shown(entry)}")
    missing = [name for name in knobs if name not in entry]
    if missing:
        raise ValueError(f"the knobs {', '.join(missing)} are missing")
    failure = _failure(entry, objectives)
    return RecordedRow(
        configuration={name: entry[name] for name in knobs},
        time_s=None if failure else as_number(entry["time"], "time") * 1e-3,
        failure=failure,
        compile_s=_seconds(entry, "compile_time"),
        benchmark_s=benchmark_time(entry, "benchmark_time", "times") * 1e-3
        + _seconds(entry, "verification_time"),
    )


def _seconds(entry: Mapping[str, Any], name: str) -> float:
    """Nothing counts as no time."""
    return as_number(entry.get(name) or 0.0, name) * 1e-3


def _failure(entry: Mapping[str, Any], objectives: Sequence[str]) -> FailureKind | None:
    """New caches mark a failure by a word in place of an objective, old ones by a time of 1e20 or null."""
    told = [entry[name] for name in (*objectives, "time") if isinstance(entry.get(name), str)]
    if "__error__" in entry or told:
        return FAILURES.get(str(entry.get("__error__", *told[:1])).lower(), "runtime")
    if "time" not in entry:
        raise ValueError(f"it has no time, which a space needs also where the objective is {objectives[0]}")
    return "runtime" if entry["time"] is None or as_number(entry["time"], "time") >= 1e20 else None


def _outcome(row: RecordedRow) -> dict[str, Any]:
    times = {"compile_time": row.compile_s * 1e3, "benchmark_time": row.benchmark_s * 1e3}
    times |= {"verification_time": 0, "strategy_time": 0, "framework_time": 0}
    if row.failure is not None:
        return {"time": FAILURE_WORDS[row.failure], **times}
    assert row.time_s is not None
    return {"time": row.time_s * 1e3, "times": [row.time_s * 1e3], **times}
