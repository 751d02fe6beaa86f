"""Measure candidates of a list of tasks: python scripts/collect.py collect.num_trials=64 'only=[resnet18_*]'.

On the GPU of this machine: python scripts/collect.py target=cuda_sm90 store=outputs/gpu.db
tasks=datasets/published/gpu/tasks.yaml. Every trial is stored before the next one starts; the same
command goes on after an interruption.
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
from datasets.collect import collect, make_workload
from datasets.parquet import save_records
from datasets.plan import CollectConfig
from scripts.learning.guide import Guide
from scripts.options.gpu_target import GpuTargetConfig
from scripts.options.groups import register_groups
from scripts.options.locations import open_store
from scripts.running.display import progress, say, show_table
from scripts.running.launch import ROOT, Run, launch
from scripts.running.outputs import Metrics, code_version
from scripts.tuning.collection import Site, chosen_tasks, cpu_site, gpu_site
from scripts.tuning.gpu_resources import GpuBench

BENCH = GpuBench()
"""Where a GPU target is measured."""


@dataclass(frozen=True, kw_only=True)
class Collect:
    """``only`` holds patterns of task names, and ``num_tasks`` takes so many of those tasks, the first.

    ``parquet`` also writes the whole store to a published file.
    ``search`` proposes ``collect.search_share`` of the trials, asking a model that learns nothing on the way:
    that of ``model`` and ``checkpoint``, or for a GPU the analytic one.

    ``store`` is a file or a database URL; leave a password to PGPASSWORD, as ``config.yaml`` shows the URL.
    """

    seed: int = 0
    tasks: str = str(ROOT / "datasets" / "published" / "tasks.yaml")
    only: list[str] = field(default_factory=lambda: ["*"])
    num_tasks: int | None = None
    store: str = "outputs/records.db"
    parquet: str | None = None
    target: Any = MISSING
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
    config = run.config
    tasks = chosen_tasks(Path(config.tasks), config.only, config.num_tasks)
    site = _site(config)
    workloads = [make_workload(task, site.target) for task in tasks]
    start_s, num_records, num_failed = time.monotonic(), 0, 0
    with (
        open_store(config.store) as store,
        site.open_pool() as pool,
        progress("collecting") as tick,
    ):
        for record in collect(
            workloads, pool, store, site.target, config.collect, site.conditions, site.proposer_of
        ):
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


def _site(config: Collect) -> Site:
    version, search = code_version(ROOT), config.search
    if isinstance(config.target, GpuTargetConfig):
        if config.checkpoint != "shipped":
            raise ValueError(
                f"checkpoint={config.checkpoint} is for CPU targets: on a GPU the analytic model proposes"
            )
        return gpu_site(config.target, config.measure, version, search, BENCH)
    guide = Guide(config.model, config.loss, config.checkpoint)
    return cpu_site(config.target, config.measure, version, guide, search, config.seed)


if __name__ == "__main__":
    register_groups()
    launch("collect", Collect, run)
