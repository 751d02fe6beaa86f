"""Export in T4, the interchange format of the autotuning community (results schema 1.0.0).

The schema leaves the unit of time open; like Kernel Tuner, these files count in milliseconds and say so.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from datasets.files import replace_text
from datasets.record import JsonValue, Record, fingerprint

T4_VERSION = "1.0.0"


def export_t4(records: Sequence[Record], path: Path) -> None:
    """Write the trials of one task on one target.

    Raises:
        ValueError: there are no records, or of several tasks, targets, states of caches or compilers.
    """
    replace_text(path, json.dumps(t4_document(records), indent=1) + "\n")


def t4_document(records: Sequence[Record]) -> dict[str, JsonValue]:
    """The file as plain values; ValueError as ``export_t4``."""
    owners = sorted(
        {
            (each.task, each.program_hash, fingerprint(each.target), each.cache, each.compiler)
            for each in records
        }
    )
    if len(owners) != 1:
        found = ", ".join(
            f"{task} on {target} ({cache}, {compiler or 'compiler unknown'})"
            for task, _, target, cache, compiler in owners[:3]
        )
        more = f" and {len(owners) - 3} more" if len(owners) > 3 else ""
        raise ValueError(f"a T4 file holds one task on one target, got {found or 'no records'}{more}")
    first = records[0]
    hardware: dict[str, JsonValue] = {"hardware_description": [dict(asdict(first.target))]}
    metadata: dict[str, JsonValue] = {
        "task": first.task,
        "operator": first.operator,
        "parameters": dict(first.parameters),
        "program_hash": first.program_hash,
        "target_fingerprint": fingerprint(first.target),
        "cache": first.cache,
        "compiler": first.compiler,
        "time_unit": "milliseconds",
        "hardware": hardware,
    }
    return {
        "schema_version": T4_VERSION,
        "metadata": metadata,
        "results": [_result(record) for record in records],
    }


def _result(record: Record) -> JsonValue:
    failure = record.failure
    measurements: list[JsonValue] = []
    if failure is None:
        measurements.append({"name": "time", "value": record.latency_s * 1e3, "unit": "ms"})
    else:
        measurements.append({"name": "error", "value": failure.message, "unit": ""})
    return {
        "timestamp": record.measured_at,
        "configuration": {"sketch": record.sketch, **record.knobs},
        "objectives": ["time"],
        "times": {
            "compilation_time": record.measurement.compile_s * 1e3,
            "runtimes": [time_s * 1e3 for time_s in record.times_s],
        },
        "invalidity": failure.kind if failure else "correct",
        "correctness": 0 if failure else 1,
        "measurements": measurements,
    }
