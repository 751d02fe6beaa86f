"""Which tasks a checkpoint has learnt from: it is not judged on those unless the user says so.

Under the splits ``within_task`` and ``by_target`` the same programs stand on both sides on purpose: of the
first the same division is the only one without candidates that were learnt from, of the second any on other
targets will do.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from costmodel.checkpoint import read_header
from datasets.splits import alike_keys
from datasets.table import RecordTable
from scripts.options.data import DataConfig
from scripts.running.display import say

NOTE, TARGETS = "trained_on", "targets"
DIVISION = ("split", "seed", "test_fraction")


def training_notes(table: RecordTable, data: DataConfig, seed: int) -> dict[str, Any]:
    """For a checkpoint: keys of what was learnt (``alike_keys``), its targets, and the division."""
    return {
        NOTE: sorted({key for task in table.tasks for key in alike_keys(task)}),
        TARGETS: sorted({task.target.fingerprint for task in table.tasks}),
        **_division(data, seed),
    }


def num_seen(
    checkpoint: Path | None, table: RecordTable, data: DataConfig, seed: int, allow_seen: bool
) -> int | None:
    """Tasks in groups that a checkpoint was trained on; None, and a warning, if it does not say.

    ``data`` and ``seed`` made the table: equal to those of the training, they share what they mean to share.

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
    if data.split == "within_task" and _division(data, seed) == {name: notes.get(name) for name in DIVISION}:
        return 0
    known = set(notes[NOTE])
    seen = [task.label for task in table.tasks if not known.isdisjoint(alike_keys(task))]
    if data.split == "by_target" and TARGETS in notes:
        seen = [task.label for task in table.tasks if task.target.fingerprint in notes[TARGETS]]
    if seen and not allow_seen:
        raise ValueError(
            f"{checkpoint} was trained on {len(seen)} of the {len(table.tasks)} tasks it would be judged on "
            f"(or on the same with another epilogue), {seen[0]} among them; choose the split and seed of its "
            "training, or set allow_seen=true"
        )
    return len(seen)


def _division(data: DataConfig, seed: int) -> dict[str, Any]:
    return {"split": data.split, "seed": seed, "test_fraction": data.test_fraction}
