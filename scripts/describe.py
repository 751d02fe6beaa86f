"""Say what a set of records holds and how far its measurements can be trusted: python scripts/describe.py.

For each target what was measured, how, and the noise: how far two trials of a candidate lie apart, and how
much the reference kernel drifted; then its operators. ``card=datasets/published/README.md`` puts the same
tables into a data card.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.running.interruption import end_quietly_when_interrupted

end_quietly_when_interrupted()

import numpy as np
from omegaconf import MISSING

from codegen.measure.measurement import FAILURE_KINDS
from datasets.card import around_tables, card_tables, tables_text, update_card
from datasets.noise import drift_of, noise_of, unsteady_share
from datasets.table import RecordTable, TaskTable, table_from_columns
from scripts.options.data import DataConfig
from scripts.options.groups import register_groups
from scripts.running.display import say, show_table
from scripts.running.launch import Run, launch
from scripts.running.outputs import Metrics, write_text


@dataclass(frozen=True, kw_only=True)
class Describe:
    """``data.path`` names the records; their split plays no part.

    ``card`` is a file whose tables, between the two lines of ``datasets.card``, are brought up to date.
    """

    seed: int = 0
    data: DataConfig = MISSING
    card: str | None = None
    logger: Any = MISSING


def run(run: Run[Describe]) -> Metrics:
    """Print the tables, and write them as ``card.md``."""
    card = None if run.config.card is None else Path(run.config.card)
    if card is not None:
        around_tables(card)  # a mistake is told before the work
    columns = run.config.data.columns()
    table, drift = table_from_columns(columns), drift_of(columns)
    unsteady = unsteady_share(columns)
    tables = card_tables(columns, table)
    for each in tables:
        show_table(each.title, each.header, each.rows)
    headings = ["operator", "failed", "median spread of best", "slowest / fastest"]
    show_table("times by operator, all targets", headings, list(_operator_rows(table)))
    write_text(run.folder / "card.md", tables_text(tables))
    if card is not None:
        update_card(card, tables)
        say(f"brought up to date: {card}")
    failed = Counter(FAILURE_KINDS[kind] for task in table.tasks for kind in task.failure_kinds if kind >= 0)
    return {
        "num_records": columns.num_rows,
        "num_targets": len({task.target.fingerprint for task in table.tasks}),
        "num_tasks": len(table.tasks),
        "num_candidates": table.num_candidates,
        "num_failed": failed.total(),
        **{f"num_failed_{kind}": count for kind, count in failed.items()},
        **noise_of(table),
        **({"reference_drift": max(drift.values())} if drift else {}),
        **({"unsteady_share": unsteady} if unsteady is not None else {}),
        "file_hash": run.config.data.file_hash(),
    }


def _operator_rows(table: RecordTable) -> Iterator[Sequence[object]]:
    for operator in sorted({task.operator for task in table.tasks}):
        tasks = [task for task in table.tasks if task.operator == operator]
        timed = [task for task in tasks if task.has_times]
        yield (
            operator,
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
