"""Judge a checkpoint, and the baselines beside it, on records: python scripts/evaluate.py checkpoint=FILE.

With data.split=by_task (the default) the tasks are those that no shipped model was trained on.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from omegaconf import MISSING

from costmodel.dataset import dataset_of
from costmodel.encoders.baselines import ConstantModel, RandomModel, RooflineModel
from costmodel.model import CostModel
from scripts.data import DataConfig
from scripts.display import show_table
from scripts.groups import register_groups
from scripts.judging import SHOWN, judge, scoring_rate
from scripts.launch import Run, launch
from scripts.outputs import Metrics
from scripts.predicting import open_model


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """``checkpoint`` as in ``tune.py``; ``model`` says what it holds."""

    seed: int = 0
    data: DataConfig = MISSING
    model: Any = MISSING
    loss: Any = MISSING
    checkpoint: str = "shipped"
    logger: Any = MISSING


def run(run: Run[Evaluate]) -> Metrics:
    """Metrics on the test side of the split, of the model and of what learns nothing."""
    config = run.config
    data = dataset_of(config.data.divide(config.data.table(), config.seed).test)
    model = open_model(config.model, config.loss, config.checkpoint)
    models: list[CostModel] = [model, RooflineModel(), ConstantModel(), RandomModel(config.seed)]
    judgements = {each.name: judge(each, data, config.seed) for each in models}
    rows = [(name, *(judgement.model[metric] for metric in SHOWN)) for name, judgement in judgements.items()]
    ceiling = judgements[model.name].ceiling
    rows.append(("noise ceiling", *(ceiling.get(metric, float("nan")) for metric in SHOWN)))
    show_table(f"{len(data.learnable().tasks)} tasks, {len(data)} candidates", ["model", *SHOWN], rows)
    return {
        **judgements[model.name].flat(),
        **{f"roofline_{name}": judgements["roofline"].model[name] for name in ("pairwise_accuracy", "top5")},
        "model": model.name,
        "candidates_per_s": scoring_rate(model, data),
        "num_test_tasks": len(data.learnable().tasks),
        "num_test_candidates": len(data),
    }


if __name__ == "__main__":
    register_groups()
    launch("evaluate", Evaluate, run)
