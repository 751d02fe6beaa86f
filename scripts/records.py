"""Move and check records: python scripts/records.py action=export store=mine.db path=mine.parquet.

``import`` adds a Parquet file to a store, ``merge`` another store; ``export`` writes a store to a file and
``t4`` one task of it to the autotuning community's format; ``verify`` checks either kind of file: whole, of
a known schema, and of programs and schedules that this version still builds. ``ansor`` makes recorded spaces
of a measure log of TVM's auto_scheduler, as TenSet's are: ``action=ansor path=log.json folder=recorded``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.running.interruption import end_quietly_when_interrupted

end_quietly_when_interrupted()

import numpy as np
from omegaconf import MISSING

from datasets.ansor import ansor_table, read_ansor
from datasets.parquet import load_records, save_records
from datasets.record import Record
from datasets.recorded import csv_text
from datasets.t4 import export_t4
from scripts.options.groups import register_groups
from scripts.options.locations import open_existing, open_store, stored_records, verified
from scripts.running.display import say, show_table
from scripts.running.launch import Run, launch
from scripts.running.outputs import Metrics, write_text


@dataclass(frozen=True, kw_only=True)
class Records:
    """``store`` is a file or a database URL; ``path`` is what is imported, merged, written, verified or read.

    ``name`` and ``fingerprint`` choose the task and the target that ``t4`` exports; ``folder`` is where
    ``ansor`` puts recorded spaces.
    """

    seed: int = 0
    action: str = MISSING
    store: str = "outputs/records.db"
    path: str = MISSING
    name: str | None = None
    fingerprint: str | None = None
    folder: str | None = None
    logger: Any = MISSING

    def __post_init__(self) -> None:
        if self.action not in _ACTIONS:
            raise ValueError(f"action must be one of {', '.join(_ACTIONS)}, got {self.action!r}")
        if self.action == "ansor" and not self.folder:
            raise ValueError("action=ansor needs folder=..., where recorded spaces are put")


def _import(config: Records) -> Metrics:
    records = load_records(Path(config.path))
    with open_store(config.store) as store:
        return {"num_added": store.append(records), "num_records": store.count()}


def _merge(config: Records) -> Metrics:
    with open_existing(config.path) as other, open_store(config.store) as store:
        return {"num_added": store.merge(other), "num_records": store.count()}


def _t4(config: Records) -> Metrics:
    records = stored_records(config.store)
    of_task = _chosen(records, "name", config.name, lambda record: record.task)
    chosen = _chosen(of_task, "fingerprint", config.fingerprint, lambda record: record.target.fingerprint)
    return _write(config, chosen, export_t4)


def _chosen(
    records: list[Record], key: str, wanted: str | None, value_of: Callable[[Record], str]
) -> list[Record]:
    """Those with the wanted value, or all; ValueError if there are none."""
    known = dict.fromkeys(map(value_of, records))
    if records and wanted is not None and wanted not in known:
        raise ValueError(f"{key} must be one of {', '.join(known)}, got {wanted}")
    return [record for record in records if wanted in (None, value_of(record))]


def _write(config: Records, records: list[Record], write: Callable[[list[Record], Path], None]) -> Metrics:
    Path(config.path).parent.mkdir(parents=True, exist_ok=True)
    write(records, Path(config.path))
    return {"num_records": len(records)}


def _verify(config: Records) -> Metrics:
    num_records, problems = verified(config.path)
    if problems:
        say("\n".join(problems[:20]))
        raise ValueError(f"{config.path}: number of problems {len(problems)}, the first: {problems[0]}")
    return {"num_records": num_records}


def _ansor(config: Records) -> Metrics:
    """One file of each workload and target; those without a success are named and left out."""
    spaces = read_ansor(Path(config.path))
    texts, rows = {}, []
    for space in spaces:
        if space.num_failed == space.num_records:
            say(f"{space.kernel} on {space.device} is left out: its records, {space.num_records}, all failed")
            continue
        table = ansor_table(space)
        texts[Path(str(config.folder)) / f"{table.kernel}__{table.device}.csv"] = csv_text(table)
        counts = [space.num_records, space.num_failed, len(table), len(table.knobs)]
        rows.append([table.kernel, table.device, *counts, float(np.nanmin(table.times_s)) * 1e3])
    if not texts:
        raise ValueError(f"{config.path}: all records failed, there is nothing to find")
    _write_new(texts)
    columns = ["workload", "target", "records", "failed", "configurations", "knobs", "best ms"]
    show_table("recorded spaces", columns, rows)
    return {
        "num_spaces": len(texts),
        "num_records": sum(space.num_records for space in spaces),
        "num_failed": sum(space.num_failed for space in spaces),
    }


def _write_new(texts: Mapping[Path, str]) -> None:
    """Write files; ValueError before the first of them if another one has the name of one."""
    for path, text in texts.items():
        if path.exists() and path.read_bytes() != text.encode():
            raise ValueError(f"{path} exists and holds something else; remove it, or give another folder")
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, text)


_ACTIONS: dict[str, Callable[[Records], Metrics]] = {
    "import": _import,
    "merge": _merge,
    "export": lambda config: _write(config, stored_records(config.store), save_records),
    "t4": _t4,
    "verify": _verify,
    "ansor": _ansor,
}


def run(run: Run[Records]) -> Metrics:
    """Do it, and say what was counted."""
    metrics = _ACTIONS[run.config.action](run.config)
    show_table(run.config.action, ["what", "value"], [*metrics.items()])
    return metrics


if __name__ == "__main__":
    register_groups()
    launch("records", Records, run)
