"""Recorded spaces as T4 results (schema 1.0.0), the format that autotuners and public hubs share.

Times are milliseconds unless the file says otherwise. The schema names no device or kernel: ours stand in
``metadata`` as ``kernel`` and ``device``, and other files go by their name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datasets.files import replace_text
from datasets.recorded import RecordedRow, RecordedTable, failure_kind, read_text, recorded_table
from datasets.t4 import T4_VERSION

UNITS_S = {"s": 1.0, "seconds": 1.0, "ms": 1e-3, "milliseconds": 1e-3, "us": 1e-6, "microseconds": 1e-6}
UNITS_S |= {"ns": 1e-9, "nanoseconds": 1e-9}


def read_t4(path: Path) -> RecordedTable:
    """Results of any T4 file that has one number as its objective.

    Raises:
        ValueError: the file is cut off, is no T4, holds several spaces, or only failures.
    """
    try:
        document = json.loads(read_text(path))
        metadata = document.get("metadata") or {}
        unit_s = _unit_s(metadata.get("time_unit", metadata.get("timeunit", "milliseconds")))
        rows = [_row(result, unit_s) for result in document["results"]]
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not JSON, or cut off: {error}") from None
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
        raise ValueError(f"{path} holds no T4 results: {type(error).__name__} {error}") from None
    knobs = list(rows[0].configuration) if rows else []
    kernel = str(metadata.get("kernel", metadata.get("task", path.name.split(".")[0])))
    return recorded_table(kernel, str(metadata.get("device", "unknown device")), knobs, rows)


def write_t4(table: RecordedTable, path: Path) -> None:
    """A recorded space as one T4 file."""
    results = [_result(table.row(number)) for number in range(len(table))]
    metadata = {"kernel": table.kernel, "device": table.device, "time_unit": "milliseconds"}
    document = {"schema_version": T4_VERSION, "metadata": metadata, "results": results}
    replace_text(path, json.dumps(document, indent=1) + "\n")


def _row(result: Mapping[str, Any], unit_s: float) -> RecordedRow:
    failure = failure_kind(str(result.get("invalidity", "correct")))
    times = result.get("times") or {}
    if not isinstance(times, Mapping):
        times = {}
    compile_ms = times.get("compilation_time", times.get("compilation")) or 0.0
    benchmark_ms = times.get("benchmark")
    if benchmark_ms is None:
        benchmark_ms = sum(map(float, times.get("runtimes") or ()))
    return RecordedRow(
        configuration=dict(result["configuration"]),
        time_s=None if failure else _time_s(result, unit_s),
        failure=failure,
        compile_s=float(compile_ms) * unit_s,
        benchmark_s=float(benchmark_ms) * unit_s,
    )


def _time_s(result: Mapping[str, Any], unit_s: float) -> float:
    """The measurement that is the objective, in its own unit if it has one."""
    (objective,) = result["objectives"]
    for measurement in result["measurements"]:
        if measurement["name"] == objective:
            own = measurement.get("unit")
            return float(measurement["value"]) * (_unit_s(own) if own else unit_s)
    raise ValueError(f"the objective {objective} is not among the measurements")


def _unit_s(name: object) -> float:
    if name not in UNITS_S:
        raise ValueError(f"a unit of time must be one of {', '.join(UNITS_S)}, got {name!r}")
    return UNITS_S[str(name)]


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
