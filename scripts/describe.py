"""Say what a set of records holds and how far its measurements can be trusted: python scripts/describe.py.

Counts by operator, failures by kind, targets and compilers, and the noise: how far two trials of a candidate
lie apart, and how much the reference kernel drifted (``reference_drift``, of the worst target).
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import pyarrow as pa
from omegaconf import MISSING

from codegen.measure.measurement import FAILURE_KINDS
from datasets.table import RecordTable, TaskTable, table_from_columns
from scripts.learning.record_noise import drift_of, noise_of
from scripts.options.data import DataConfig
from scripts.options.groups import register_groups
from scripts.running.display import show_table
from scripts.running.launch import Run, launch
from scripts.running.outputs import Metrics


@dataclass(frozen=True, kw_only=True)
class Describe:
    """``data.path`` names the records; their split plays no part."""

    seed: int = 0
    data: DataConfig = MISSING
    logger: Any = MISSING


def run(run: Run[Describe]) -> Metrics:
    """Print the tables of a data card."""
    columns = run.config.data.columns()
    table, drift = table_from_columns(columns), drift_of(columns)
    targets = {task.target.fingerprint: task.target.name for task in table.tasks}
    rows = [(name, key, drift.get(key, "not measured")) for key, name in targets.items()]
    show_table("targets", ["target", "fingerprint", "reference kernel p90 / median"], rows)
    headings = ["code version", "compiler", "caches", "trials"]
    show_table("measured with", headings, _condition_rows(columns))
    headings = ["operator", "tasks", "candidates", "failed", "median spread of best", "slowest / fastest"]
    show_table("records by operator", headings, list(_operator_rows(table)))
    noise = noise_of(table)
    show_table("noise", ["what", "value"], list(noise.items()))
    failed = Counter(FAILURE_KINDS[kind] for task in table.tasks for kind in task.failure_kinds if kind >= 0)
    return {
        "num_records": columns.num_rows,
        "num_tasks": len(table.tasks),
        "num_candidates": table.num_candidates,
        "num_failed": failed.total(),
        **{f"num_failed_{kind}": count for kind, count in failed.items()},
        **noise,
        **({"reference_drift": max(drift.values())} if drift else {}),
        "file_hash": run.config.data.file_hash(),
    }


def _condition_rows(columns: pa.Table) -> list[Sequence[object]]:
    names = ["code_version", "compiler", "cache"]
    counts = columns.group_by(names).aggregate([([], "count_all")])
    return [[row[name] or "not noted" for name in [*names, "count_all"]] for row in counts.to_pylist()]


def _operator_rows(table: RecordTable) -> Iterator[Sequence[object]]:
    for operator in sorted({task.operator for task in table.tasks}):
        tasks = [task for task in table.tasks if task.operator == operator]
        timed = [task for task in tasks if task.has_times]
        yield (
            operator,
            len(tasks),
            sum(map(len, tasks)),
            sum(int(task.is_failed.sum()) for task in tasks),
            float(np.median([_best_spread(task) for task in timed])) if timed else float("nan"),
            float(np.median([1 / _slowest_label(task) for task in timed])) if timed else float("nan"),
        )


def _best_spread(task: TaskTable) -> float:
    return float(task.spread[int(np.nanargmin(task.latency_s))])


def _slowest_label(task: TaskTable) -> float:
    return float(task.labels[~task.is_failed].min())


if __name__ == "__main__":
    register_groups()
    launch("describe", Describe, run)
