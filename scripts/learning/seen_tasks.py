"""Which tasks a checkpoint has learnt from: it is not judged on those unless the user says so.

Under the splits ``within_task`` and ``by_target`` the same programs stand on both sides on purpose: of the
first the same division of the same candidates is the only one without any that were learnt from, of the
second any on other targets will do.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from costmodel.checkpoint import read_header
from datasets.splits import Split, alike_keys, side_digest
from datasets.table import RecordTable
from scripts.options.data import DataConfig
from scripts.running.display import say

NOTE, TARGETS, SIDE = "trained_on", "targets", "side_digest"


def training_notes(table: RecordTable, data: DataConfig, seed: int) -> dict[str, Any]:
    """For a checkpoint: keys of what was learnt (``alike_keys``), its targets, candidates and division."""
    return {
        NOTE: sorted({key for task in table.tasks for key in alike_keys(task)}),
        TARGETS: sorted({task.target.fingerprint for task in table.tasks}),
        SIDE: side_digest(table),
        "split": data.split,
        "seed": seed,
        "test_fraction": data.test_fraction,
    }


def num_seen(checkpoint: Path | None, split: Split, kind: str, allow_seen: bool) -> int | None:
    """Tasks to be judged on in groups that a checkpoint was trained on; None, and a warning, if it is silent.

    ``kind`` is the name of the split: of ``within_task`` one that learns from the same is judged as it was
    trained.

    Raises:
        ValueError: there are some, and ``allow_seen`` is not set; one of them is named.
    """
    if checkpoint is None:
        return 0
    notes: Mapping[str, Any] = read_header(checkpoint).notes
    if NOTE not in notes:
        say(
            f"warning: {checkpoint} does not say which tasks it was trained on; some of those it is judged "
            "on may be among them"
        )
        return None
    if kind == "within_task" and notes.get(SIDE) == side_digest(split.train):
        return 0
    known, tasks = set(notes[NOTE]), split.test.tasks
    seen = [task.label for task in tasks if not known.isdisjoint(alike_keys(task))]
    if kind == "by_target" and TARGETS in notes:
        seen = [task.label for task in tasks if task.target.fingerprint in notes[TARGETS]]
    if seen and not allow_seen:
        raise ValueError(
            f"{checkpoint} was trained on {len(seen)} of the {len(tasks)} tasks it would be judged on "
            f"(or on the same with another epilogue), {seen[0]} among them; choose the records, split and "
            "seed of its training, or set allow_seen=true"
        )
    return len(seen)
