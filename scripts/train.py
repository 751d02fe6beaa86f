"""Train a cost model on measured runtimes: python scripts/train.py model=treegru data.split=by_task.

Prints how well it ranks tasks it has never seen, beside chance and the noise ceiling; saves a checkpoint.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from omegaconf import MISSING

from costmodel.checkpoint import save_checkpoint
from costmodel.dataset import FeatureDataset, dataset_of
from costmodel.model import CostModel
from datasets.table import RecordTable
from scripts.data import DataConfig
from scripts.display import progress, say, show_table
from scripts.groups import register_groups
from scripts.judging import Judgement, judge, scoring_rate
from scripts.launch import Run, launch
from scripts.outputs import Metrics, write_text

CHECKPOINT = "checkpoint.safetensors"


@dataclass(frozen=True, kw_only=True)
class Train:
    """What is learnt, by which model, with which loss (for models that minimise one of ours)."""

    seed: int = 0
    data: DataConfig = MISSING
    model: Any = MISSING
    loss: Any = MISSING
    logger: Any = MISSING


def run(run: Run[Train]) -> Metrics:
    """Load, divide, fit, judge, save."""
    config = run.config
    split = config.data.divide(config.data.table(), config.seed)
    train_data = _features("features to learn from", split.train)
    test_data = _features("features to be judged on", split.test)
    model: CostModel = config.model.build(config.loss)
    start_s = time.perf_counter()
    with progress(f"training {model.name}") as tick:

        def on_step(done: int, total: int, loss: float) -> None:
            tick(done, total, f"loss {loss:.4f}")
            if np.isfinite(loss):
                run.logger.log(done, {"loss": loss})

        model.fit(train_data, np.random.default_rng(config.seed), on_step)
    train_s = time.perf_counter() - start_s
    judgement = judge(model, test_data, config.seed)
    notes = {"seed": config.seed, "split": config.data.split, "num_tasks": len(train_data.tasks)}
    save_checkpoint(run.folder / CHECKPOINT, model, train_data.hash, notes)
    _report(run.folder, model, judgement)
    return {
        **judgement.flat(),
        "model": model.name,
        "train_s": train_s,
        "candidates_per_s": scoring_rate(model, test_data),
        "num_train_tasks": len(train_data.tasks),
        "num_test_tasks": len(judgement.by_task),
        "num_train_candidates": len(train_data),
        "num_test_candidates": len(test_data),
        "data_hash": train_data.hash,
    }


def _features(title: str, table: RecordTable) -> FeatureDataset:
    done = 0
    with progress(title) as tick:

        def on_task(name: str) -> None:
            nonlocal done
            done += 1
            tick(done, len(table.tasks), name)

        return dataset_of(table, on_task)


def _report(folder: Path, model: CostModel, judgement: Judgement) -> None:
    write_text(folder / "tasks.csv", judgement.csv())
    title = f"{model.name} on {len(judgement.by_task)} tasks, all kept apart from training"
    show_table(title, ["metric", "model", "95 % interval", "random", "noise ceiling"], judgement.rows())
    say(f"checkpoint: {folder / CHECKPOINT}; metrics of each task: {folder / 'tasks.csv'}")


if __name__ == "__main__":
    register_groups()
    launch("train", Train, run)
