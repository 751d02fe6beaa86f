"""What columns from a file must hold, row by row: types alone do not say it."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from codegen.measure.measurement import FAILURE_KINDS
from datasets.columns import COLUMNS, Dictionaries
from datasets.record import CACHES, SOURCES

_MAY_BE_NULL = ("failure_kind", "failure_message", "failure_command")
_WORDS = {"failure_kind": FAILURE_KINDS, "source": SOURCES, "cache": CACHES}


def check_columns(table: pa.Table, listed: Dictionaries) -> None:
    """As ``datasets.record.Record`` and ``codegen.measure.measurement.Measurement`` check one by one.

    Raises:
        ValueError: a value is missing or unknown, a task, target or layout is not in its list, or a trial
            has no true times, or both times and a failure. The first such row is named, from 0.
    """
    for name in COLUMNS:
        if name not in _MAY_BE_NULL and table.column(name).null_count:
            raise ValueError(f"column {name} is empty in row {_first(pc.is_null(table.column(name)))}")
    for name, entries in (("task", listed.tasks), ("target", listed.targets), ("layout", listed.layouts)):
        numbers = table.column(name)
        outside = pc.or_(pc.less(numbers, 0), pc.greater_equal(numbers, len(entries)))
        _refuse(table, name, outside, f"there are {len(entries)}")
    for name, words in _WORDS.items():
        known = pc.is_in(table.column(name), pa.array([*words, None], pa.string()))
        _refuse(table, name, pc.invert(known), f"allowed: {', '.join(words)}")
    unsteadiness = table.column("unsteadiness")
    unfit = pc.invert(pc.and_(pc.greater_equal(unsteadiness, 0), pc.is_finite(unsteadiness)))
    _refuse(table, "unsteadiness", unfit, "it must be finite and not negative")
    _check_times(table)


def _check_times(table: pa.Table) -> None:
    times_s = table.column("times_s").combine_chunks()
    values = times_s.flatten().to_numpy(zero_copy_only=False).astype(np.float64)  # null becomes NaN
    lengths = pc.list_value_length(times_s).to_numpy()
    wrong = np.repeat(np.arange(len(lengths)), lengths)[~((values > 0) & (values < np.inf))]
    if len(wrong):
        raise ValueError(f"times must be positive and finite, row {wrong[0]} has {times_s[wrong[0]].as_py()}")
    has_failure = pc.is_valid(table.column("failure_kind")).to_numpy()
    both = np.flatnonzero(has_failure == (lengths > 0))
    if len(both):
        raise ValueError(f"a trial has either times or a failure, unlike row {both[0]}")


def _refuse(table: pa.Table, name: str, wrong: pa.ChunkedArray, allowed: str) -> None:
    if pc.any(wrong).as_py():
        row = _first(wrong)
        raise ValueError(f"{name} of row {row} is {table.column(name)[row].as_py()!r}; {allowed}")


def _first(mask: pa.ChunkedArray) -> int:
    return int(pc.index(mask, True).as_py())
