"""Measure candidates of a list of tasks: python scripts/collect.py collect.num_trials=64 'only=[resnet18_*]'.

Every trial is stored before the next one starts; the same command goes on after an interruption.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.running.interruption import end_quietly_when_interrupted

end_quietly_when_interrupted()

from omegaconf import MISSING

from codegen.measure.config import MeasureConfig
from codegen.measure.pool import MeasurePool
from codegen.target import compiler_name
from datasets.collect import Conditions, collect
from datasets.parquet import save_records
from datasets.plan import CollectConfig
from datasets.record import Cache
from scripts.learning.guide import Guide
from scripts.options.groups import TargetConfig, register_groups
from scripts.options.locations import open_store
from scripts.running.display import progress, say, show_table
from scripts.running.launch import ROOT, Run, launch
from scripts.running.outputs import Metrics, code_version
from scripts.tuning.collection import chosen_workloads, unmeasured_search
from scripts.tuning.measured_search import reproduce_command


@dataclass(frozen=True, kw_only=True)
class Collect:
    """``only`` holds patterns of task names, and ``num_tasks`` takes so many of those tasks, the first.

    ``parquet`` also writes the whole store to a published file.
    ``search`` proposes ``collect.search_share`` of the trials, asking a model that learns nothing on the way.

    ``store`` is a file or a database URL; leave a password to PGPASSWORD, as ``config.yaml`` shows the URL.
    """

    seed: int = 0
    tasks: str = str(ROOT / "datasets" / "published" / "tasks.yaml")
    only: list[str] = field(default_factory=lambda: ["*"])
    num_tasks: int | None = None
    store: str = "outputs/records.db"
    parquet: str | None = None
    target: TargetConfig = MISSING
    model: Any = MISSING
    loss: Any = MISSING
    checkpoint: str = "shipped"
    search: Any = MISSING
    collect: CollectConfig = field(default_factory=CollectConfig)
    measure: MeasureConfig = field(default_factory=MeasureConfig)
    logger: Any = MISSING

    def __post_init__(self) -> None:
        if self.num_tasks is not None and self.num_tasks < 1:
            raise ValueError(f"num_tasks must be at least 1, got {self.num_tasks}")


def run(run: Run[Collect]) -> Metrics:
    """Collect, count, and publish if asked to."""
    config, target = run.config, run.config.target.detect()
    cache: Cache = "flushed" if config.measure.flush_cache else "warm"
    conditions = Conditions(code_version=code_version(ROOT), compiler=compiler_name(), cache=cache)
    workloads = chosen_workloads(Path(config.tasks), config.only, config.num_tasks, target)
    proposer_of = unmeasured_search(
        Guide(config.model, config.loss, config.checkpoint), config.search, config.seed
    )
    start_s, num_records, num_failed = time.monotonic(), 0, 0
    with (
        open_store(config.store) as store,
        MeasurePool(config.measure, reproduce_command) as pool,
        progress("collecting") as tick,
    ):
        for record in collect(workloads, pool, store, target, config.collect, conditions, proposer_of):
            num_records, num_failed = num_records + 1, num_failed + (record.failure is not None)
            run.logger.log(num_records, {"compile_s": record.measurement.compile_s, "num_failed": num_failed})
            tick(num_records, len(workloads) * config.collect.num_trials, record.task)
        num_stored = store.count()
        if config.parquet:
            save_records(store.records(all_targets=True), Path(config.parquet))
    wall_s = time.monotonic() - start_s
    metrics = {
        "num_records": num_records,
        "num_failed": num_failed,
        "num_stored": num_stored,
        "num_tasks": len(workloads),
        "records_per_s": num_records / wall_s,
        "wall_s": wall_s,
    }
    show_table("collected", ["what", "value"], [*metrics.items()])
    say(f"{store.location} now holds {num_stored} records; the same command goes on where this one ended.")
    return metrics


if __name__ == "__main__":
    register_groups()
    launch("collect", Collect, run)
