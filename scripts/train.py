"""Train a cost model on measured runtimes: python scripts/train.py model=treegru data.split=by_task.

Prints how well it ranks tasks it has never seen, beside chance and the noise ceiling; saves a checkpoint.
The same command with the same hydra.run.dir goes on with a training that was interrupted.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.running.interruption import end_quietly_when_interrupted

end_quietly_when_interrupted()

from omegaconf import MISSING

from costmodel.checkpoint import save_checkpoint
from costmodel.dataset import FeatureDataset
from costmodel.losses import RankAndTime
from costmodel.metrics import TaskMetrics
from costmodel.model import CostModel, Resumes
from costmodel.validation import quality_of
from scripts.learning.judgement import Judgement, judge, scoring_rate, uncertainty_metrics
from scripts.learning.seen_tasks import training_notes
from scripts.learning.training import comparable_features, fit_model
from scripts.options.data import DataConfig
from scripts.options.groups import register_groups
from scripts.running.display import say, show_table
from scripts.running.launch import Run, launch
from scripts.running.outputs import Metrics, write_text

CHECKPOINT = "checkpoint.safetensors"
SNAPSHOT = "training.safetensors"


@dataclass(frozen=True, kw_only=True)
class Train:
    """What is learnt, by which model, with which loss (for models that minimise one of ours)."""

    seed: int = 0
    data: DataConfig = MISSING
    model: Any = MISSING
    loss: Any = MISSING
    logger: Any = MISSING


def run(run: Run[Train]) -> Metrics:
    """Load, divide, fit, save, judge."""
    config = run.config
    split = config.data.divide(config.data.table(), config.seed)
    train_data = comparable_features("learn from", split.train, config.data.feature_cache())
    test_data = comparable_features("be judged on", split.test, config.data.feature_cache())
    model: CostModel = config.model.build(config.loss)
    if not config.model.uses_loss and config.loss != RankAndTime():
        chosen = type(config.loss).__name__
        say(f"{chosen} changes nothing: {model.name} minimises none of the losses of loss=...")
    snapshot = run.folder / SNAPSHOT
    if isinstance(model, Resumes):
        model.snapshot = snapshot
    effort = fit_model(
        model, train_data, config.seed, lambda step, loss: run.logger.log(step, {"loss": loss})
    )
    notes = {"num_tasks": len(train_data.tasks), **training_notes(split.train, config.data, config.seed)}
    save_checkpoint(run.folder / CHECKPOINT, model, train_data.hash, notes)
    for left_over in run.folder.glob(f"{snapshot.stem}*{snapshot.suffix}"):
        left_over.unlink()
    judgement = judge(model, test_data, config.seed)
    uncertainty = uncertainty_metrics(model, test_data)
    fit = _fit(model, train_data)
    _report(run.folder, model, judgement, fit | uncertainty, config.data.split)
    return {
        **judgement.flat(),
        **fit,
        **uncertainty,
        "model": model.name,
        "train_s": effort.wall_s,
        "candidates_per_s": scoring_rate(model, test_data),
        "num_train_tasks": len(train_data.tasks),
        "num_test_tasks": len(judgement.tasks),
        "num_train_candidates": len(train_data),
        "num_test_candidates": len(test_data),
        "data_hash": train_data.hash,
    }


def _fit(model: CostModel, data: FeatureDataset) -> TaskMetrics:
    """The accuracy on the side to learn from, the mean over tasks that hold pairs; nothing if none does.

    Beside the accuracy on other tasks it tells what could help: more records where it is far higher, other
    features or a larger model where it is not.
    """
    accuracy = quality_of(model.score, data.learnable())
    return {"train_pairwise_accuracy": accuracy} if math.isfinite(accuracy) else {}


def _report(folder: Path, model: CostModel, judgement: Judgement, others: TaskMetrics, split: str) -> None:
    write_text(folder / "tasks.csv", judgement.csv())
    title = f"{model.name} on {len(judgement.tasks)} tasks, the test side of data.split={split}"
    rows = [*judgement.rows(), *((name, value, "", "", "") for name, value in others.items())]
    show_table(title, ["metric", "model", "95 % interval", "random", "noise ceiling"], rows)
    judgement.show_targets()
    say(f"checkpoint: {folder / CHECKPOINT}; metrics of each task: {folder / 'tasks.csv'}")


if __name__ == "__main__":
    register_groups()
    launch("train", Train, run)
