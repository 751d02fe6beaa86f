"""Recorded tuning spaces: what every measured configuration of one kernel on one device took and cost.

CSV (plain or gzipped) has the knobs, then ``status``, ``time_ms`` and, if known, ``compile_ms`` and
``benchmark_ms`` (or ``overhead_ms``): what it cost to find out. Other columns are left alone.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from codegen.measure.measurement import FAILURE_KINDS, FailureKind
from datasets.recorded_json import shown

Value: TypeAlias = int | float | str | bool

_SUCCESS = ("ok", "correct")

_WORDS: dict[str, FailureKind] = {
    "CompilationFailedConfig": "compile",
    "InvalidConfig": "constraints",
    "RuntimeFailedConfig": "runtime",
    "ErrorConfig": "runtime",
    "CompilationFailed": "compile",
    "DeviceLimitsExceeded": "constraints",
    "ComputationFailed": "runtime",
    "ValidationFailed": "correctness",
    **{kind: kind for kind in FAILURE_KINDS},
}

FAILURES = {word.lower(): kind for word, kind in _WORDS.items()}
"""Words for failures, in lower case, that Kernel Tuner, KTT and T4 use."""

LARGEST = 2**63
"""Numbers of knobs lie below, so that they are exact as integers of 64 bits."""


@dataclass(frozen=True)
class RecordedRow:
    """One configuration by names and values; ``time_s`` is None where there is a failure."""

    configuration: Mapping[str, Value]
    time_s: float | None
    failure: FailureKind | None = None
    compile_s: float = 0.0
    benchmark_s: float = 0.0


@dataclass(frozen=True)
class RecordedTable:
    """Configurations in rows. ``values[j]`` are the values of knob j that occur, numbers in rising order.

    ``positions`` (N, knobs) index into them. ``times_s`` (N,) is NaN where ``failures`` is not None;
    ``compile_s`` and ``benchmark_s`` (N,) are what it cost to find out, failures included.
    """

    kernel: str
    device: str
    knobs: tuple[str, ...]
    values: tuple[tuple[Value, ...], ...]
    positions: NDArray[np.int64]
    times_s: NDArray[np.float64]
    failures: tuple[FailureKind | None, ...]
    compile_s: NDArray[np.float64]
    benchmark_s: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.times_s)

    @property
    def costs_s(self) -> NDArray[np.float64]:
        """Tuning time of each trial, shape (N,)."""
        return self.compile_s + self.benchmark_s

    @cached_property
    def digest(self) -> str:
        """16 hex digits of all that is recorded."""
        facts = [self.kernel, self.device, self.knobs, self.values, self.failures]
        digest = hashlib.sha256(json.dumps(facts).encode())
        for array in (self.positions, self.times_s, self.compile_s, self.benchmark_s):
            digest.update(array.tobytes())
        return digest.hexdigest()[:16]

    def row(self, number: int) -> RecordedRow:
        """One configuration by names and values."""
        places = self.positions[number].tolist()
        failure = self.failures[number]
        return RecordedRow(
            {name: v[place] for name, v, place in zip(self.knobs, self.values, places, strict=True)},
            None if failure else float(self.times_s[number]),
            failure,
            float(self.compile_s[number]),
            float(self.benchmark_s[number]),
        )


def recorded_table(
    kernel: str, device: str, knobs: Sequence[str], rows: Sequence[RecordedRow]
) -> RecordedTable:
    """A table of the rows in order; of a configuration that occurs again the first counts.

    Raises:
        ValueError: there are no knobs or rows, none succeeded, or a row has other knobs, a value that is no
            word and no number of 64 bits, or no true time or cost.
    """
    source = f"{kernel} on {device}"
    if not knobs or not rows:
        raise ValueError(
            f"{source} has {len(knobs)} knobs and {len(rows)} configurations; a space needs some"
        )
    if len(set(knobs)) < len(knobs):
        raise ValueError(f"{source}: knobs need names of their own, got {', '.join(map(str, knobs))}")
    for row in rows:
        _check_row(row, knobs, source)
    if all(row.failure for row in rows):
        raise ValueError(f"{source}: all {len(rows)} configurations failed, there is nothing to find")
    distinct = {tuple(row.configuration[name] for name in knobs): row for row in reversed(rows)}
    kept = list(reversed(distinct.items()))
    values = tuple(ordered_values({point[column] for point, _ in kept}) for column in range(len(knobs)))
    places = [{value: place for place, value in enumerate(known)} for known in values]
    return RecordedTable(
        kernel=kernel,
        device=device,
        knobs=tuple(knobs),
        values=values,
        positions=np.array([[p[v] for p, v in zip(places, point)] for point, _ in kept], np.int64),
        times_s=np.array([np.nan if row.time_s is None else row.time_s for _, row in kept]),
        failures=tuple(row.failure for _, row in kept),
        compile_s=np.array([row.compile_s for _, row in kept]),
        benchmark_s=np.array([row.benchmark_s for _, row in kept]),
    )


def read_csv(path: Path, kernel: str, device: str) -> RecordedTable:
    """A recorded space as CSV; ValueError names the file and what is wrong with it."""
    try:
        header, *lines = list(csv.reader(io.StringIO(read_text(path)))) or [[]]
    except csv.Error as error:
        raise ValueError(f"{path} is no CSV: {error}") from None
    if "status" not in header or "time_ms" not in header:
        raise ValueError(f"{path} needs columns status and time_ms, got {', '.join(header)[:200]}")
    knobs = header[: header.index("status")]
    rows = []
    for number, cells in enumerate(lines, start=2):
        if not cells:
            continue  # a blank line, as editors leave at the end
        if len(cells) != len(header):
            raise ValueError(f"{path}, line {number}: {len(cells)} cells, the header has {len(header)}")
        try:
            rows.append(_csv_row(dict(zip(header, cells)), knobs))
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}") from None
    return recorded_table(kernel, device, knobs, rows)


def csv_text(table: RecordedTable) -> str:
    """A recorded space as CSV, which ``read_csv`` reads again; words must not read as numbers."""
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow([*table.knobs, "status", "time_ms", "compile_ms", "benchmark_ms"])
    for row in map(table.row, range(len(table))):
        time_ms = "" if row.time_s is None else row.time_s * 1e3
        costs_ms = (row.compile_s * 1e3, row.benchmark_s * 1e3)
        lines.writerow([*row.configuration.values(), row.failure or "ok", time_ms, *costs_ms])
    return text.getvalue()


def read_text(path: Path) -> str:
    """The text of a file that may be gzipped; ValueError if it is cut off or no text."""
    data = path.read_bytes()
    try:
        # Spreadsheets begin a file with a byte-order mark.
        return (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8-sig")
    except (EOFError, gzip.BadGzipFile, zlib.error, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is damaged or cut off: {error}") from None


def parse_value(text: str) -> Value:
    """A number if it reads as one.

    >>> parse_value("16"), parse_value("0.5"), parse_value("float4")
    (16, 0.5, 'float4')
    """
    for kind in (int, float):
        try:
            value = kind(text)
        except ValueError:
            continue
        if math.isfinite(value):
            return value
    return text


def failure_kind(word: str) -> FailureKind | None:
    """None for what succeeded, ``ok``, ``correct`` or nothing; ValueError for a word that nobody uses."""
    lower = word.lower()
    if lower in (*_SUCCESS, ""):
        return None
    if lower not in FAILURES:
        raise ValueError(f"a status must be one of {', '.join((*_SUCCESS, *_WORDS))}, got {shown(word)}")
    return FAILURES[lower]


def _csv_row(cells: Mapping[str, str], knobs: Sequence[str]) -> RecordedRow:
    def milliseconds(*names: str) -> float:
        """The sum of what is there."""
        return sum(float(cells[name]) for name in names if cells.get(name)) * 1e-3

    failure = failure_kind(cells["status"])
    return RecordedRow(
        configuration={name: parse_value(cells[name]) for name in knobs},
        time_s=None if failure else float(cells["time_ms"]) * 1e-3,
        failure=failure,
        compile_s=milliseconds("compile_ms"),
        benchmark_s=milliseconds("benchmark_ms", "overhead_ms"),
    )


def _check_row(row: RecordedRow, knobs: Sequence[str], source: str) -> None:
    if set(row.configuration) != set(knobs):
        raise ValueError(
            f"{source}: a configuration has the knobs {sorted(row.configuration)}, not {sorted(knobs)}"
        )
    for name, value in row.configuration.items():
        if not isinstance(value, (int, float, str)):
            raise ValueError(f"{source}: knob {name} has {shown(value)} as a value, neither number nor word")
        if not isinstance(value, str) and not abs(value) < LARGEST:
            raise ValueError(
                f"{source}: knob {name} has the value {str(value)[:20]}, numbers must be below 2**63"
            )
    if (row.time_s is None) == (row.failure is None):
        raise ValueError(f"{source}: {dict(row.configuration)} needs either a time or a failure")
    if row.time_s is not None and not (math.isfinite(row.time_s) and row.time_s > 0):
        raise ValueError(f"{source}: {dict(row.configuration)} has the time {row.time_s} s")
    for what, cost_s in (("compiling", row.compile_s), ("benchmarking", row.benchmark_s)):
        if not (math.isfinite(cost_s) and cost_s >= 0):
            raise ValueError(f"{source}: {what} {dict(row.configuration)} took {cost_s} s")


def ordered_values(values: set[Value]) -> tuple[Value, ...]:
    """Numbers in rising order; with a word among them, by their JSON text."""
    if all(isinstance(value, (int, float)) for value in values):
        return tuple(sorted(values))
    return tuple(sorted(values, key=json.dumps))
