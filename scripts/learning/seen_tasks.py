"""Which tasks a checkpoint has learnt from: it is not judged on those unless the user says so.

Under the splits ``within_task`` and ``by_target`` the same programs stand on both sides on purpose.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from costmodel.checkpoint import read_header
from datasets.splits import group_key
from datasets.table import RecordTable, TaskTable
from scripts.running.display import say

NOTE = "trained_on"
SHARED_SPLITS = ("within_task", "by_target")


def training_notes(table: RecordTable) -> dict[str, Any]:
    """For the notes of a checkpoint: the groups (``group_key``) that a split keeps together, and programs."""
    return {NOTE: sorted({key for task in table.tasks for key in _keys(task)})}


def num_seen(
    checkpoint: Path | None, table: RecordTable, split: str, seed: int, allow_seen: bool
) -> int | None:
    """Tasks in groups that a checkpoint was trained on; None, and a warning, if it does not say.

    ``split`` and ``seed`` made the table: equal to those of the training, they share what they mean to share.

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
    if split in SHARED_SPLITS and (split, seed) == (notes.get("split"), notes.get("seed")):
        return 0
    known = set(notes[NOTE])
    seen = [task.name for task in table.tasks if not known.isdisjoint(_keys(task))]
    if seen and not allow_seen:
        raise ValueError(
            f"{checkpoint} was trained on {len(seen)} of the {len(table.tasks)} tasks it would be judged on "
            f"(or on the same with another epilogue), {seen[0]} among them; choose the split and seed of its "
            "training, or set allow_seen=true"
        )
    return len(seen)


def _keys(task: TaskTable) -> set[str]:
    """A program may be written with other parameters elsewhere."""
    return {group_key(task), task.program_hash}
