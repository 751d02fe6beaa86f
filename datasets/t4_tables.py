"""Recorded spaces as T4 results (schema 1.0.0), the format that autotuners and public hubs share.

Times are milliseconds unless the file says otherwise. The schema names no device or kernel: ours stand in
``metadata`` as ``kernel`` and ``device``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from datasets.files import replace_text
from datasets.recorded import RecordedRow, RecordedTable, failure_kind, read_text, recorded_table
from datasets.recorded_json import as_number, benchmark_time, member, parse_json, shown
from datasets.t4 import T4_VERSION

UNITS_S = {"s": 1.0, "seconds": 1.0, "ms": 1e-3, "milliseconds": 1e-3, "us": 1e-6, "microseconds": 1e-6}
UNITS_S |= {"ns": 1e-9, "nanoseconds": 1e-9}
UNITS_S |= {"miliseconds": 1e-3}  # as Kernel Tuner spelt it


def read_t4(path: Path, kernel: str, device: str) -> RecordedTable:
    """Results of any T4 file that has one objective and times: as the objective, or else named ``time``.

    ``kernel`` and ``device`` count where the file names none.

    Raises:
        ValueError: the file is cut off, is no T4, has no times, holds several spaces, or only failures.
    """
    document = parse_json(read_text(path), path)
    what = f"{path} holds neither results of T4 nor a cache of Kernel Tuner: it"
    results = member(document, "results", list, what)
    metadata = document.get("metadata") or {}
    if not isinstance(metadata, Mapping):
        raise ValueError(f"{path}: metadata must be an object, got {shown(metadata)}")
    try:
        unit_s = _unit_s(metadata.get("time_unit", metadata.get("timeunit", "milliseconds")))
    except ValueError as error:
        raise ValueError(f"{path}, metadata: {error}") from None
    rows = []
    for place, result in enumerate(results, start=1):
        try:
            rows.append(_row(result, unit_s))
        except ValueError as error:
            raise ValueError(f"{path}, result {place}: {error}") from None
    knobs = list(rows[0].configuration) if rows else []
    kernel = str(metadata.get("kernel", metadata.get("task", kernel)))
    return recorded_table(kernel, str(metadata.get("device", device)), knobs, rows)


def write_t4(table: RecordedTable, path: Path) -> None:
    """A recorded space as one T4 file."""
    results = [_result(table.row(number)) for number in range(len(table))]
    metadata = {"kernel": table.kernel, "device": table.device, "time_unit": "milliseconds"}
    document = {"schema_version": T4_VERSION, "metadata": metadata, "results": results}
    replace_text(path, json.dumps(document, indent=1) + "\n")


def _row(result: object, unit_s: float) -> RecordedRow:
    configuration = member(result, "configuration", dict, "it")
    assert isinstance(result, Mapping)
    failure = failure_kind(str(result.get("invalidity", "correct")))
    times = result.get("times") or {}
    if not isinstance(times, Mapping):
        times = {}
    compile_time = times.get("compilation_time", times.get("compilation")) or 0.0
    benchmark = benchmark_time(times, "benchmark", "runtimes")
    validation = as_number(times.get("validation") or 0.0, "the time of validation")
    return RecordedRow(
        configuration=dict(configuration),
        time_s=None if failure else _time_s(result, unit_s),
        failure=failure,
        compile_s=as_number(compile_time, "the time of compilation") * unit_s,
        benchmark_s=(benchmark + validation) * unit_s,
    )


def _time_s(result: Mapping[str, Any], unit_s: float) -> float:
    """The measurement that is the objective, or else ``time``, in its own unit if it has one."""
    objectives = member(result, "objectives", list, "it")
    if len(objectives) != 1:
        raise ValueError(f"it must have exactly one objective, got {len(objectives)}")
    measurements = member(result, "measurements", list, "it")
    told = _measurement(measurements, objectives[0])
    if told["name"] != "time" and not _is_time(told):
        try:
            told = _measurement(measurements, "time")
        except ValueError as error:
            raise ValueError(
                f"its objective {shown(objectives[0])} has no unit of time, and {error}"
            ) from None
    own = told.get("unit")
    value = as_number(told.get("value"), f"the value of {shown(told['name'])}")
    return value * (_unit_s(own) if own else unit_s)


def _measurement(measurements: Sequence[object], name: object) -> Mapping[str, Any]:
    told = [each for each in measurements if isinstance(each, Mapping) and each.get("name") == name]
    if len(told) != 1:
        raise ValueError(f"exactly one of its measurements must be named {shown(name)}, got {len(told)}")
    return told[0]


def _is_time(measurement: Mapping[str, Any]) -> bool:
    """Without a unit the name decides: what Kernel Tuner counts in milliseconds begins with ``time``."""
    unit = measurement.get("unit")
    return unit in list(UNITS_S) if unit else str(measurement["name"]).startswith("time")


def _unit_s(name: object) -> float:
    if not isinstance(name, str) or name not in UNITS_S:
        raise ValueError(f"a unit of time must be one of {', '.join(UNITS_S)}, got {shown(name)}")
    return UNITS_S[name]


def _result(row: RecordedRow) -> dict[str, Any]:
    measurements = [] if row.time_s is None else [{"name": "time", "value": row.time_s * 1e3, "unit": "ms"}]
    return {
        "configuration": dict(row.configuration),
        "objectives": ["time"],
        "times": {
            "compilation_time": row.compile_s * 1e3,
            "benchmark": row.benchmark_s * 1e3,
            "runtimes": [] if row.time_s is None else [row.time_s * 1e3],
        },
        "invalidity": row.failure or "correct",
        "correctness": 0 if row.failure else 1,
        "measurements": measurements,
    }
