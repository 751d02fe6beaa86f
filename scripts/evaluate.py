"""Judge a checkpoint, and the baselines beside it, on records: python scripts/evaluate.py checkpoint=FILE.

A checkpoint that was trained on one of the tasks is refused, unless allow_seen=true.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from omegaconf import MISSING

from costmodel.encoders.baselines import ConstantModel, RandomModel, RooflineModel
from costmodel.model import CostModel
from scripts.data import DataConfig
from scripts.display import show_table
from scripts.groups import register_groups
from scripts.judging import SHOWN, judge, scoring_rate
from scripts.launch import Run, launch
from scripts.learning import comparable_features
from scripts.outputs import Metrics
from scripts.predicting import checkpoint_file, open_model
from scripts.seen import num_seen


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """``checkpoint`` as in ``tune.py``; ``model`` says what it holds.

    ``allow_seen`` judges a checkpoint even on tasks it was trained on.
    """

    seed: int = 0
    data: DataConfig = MISSING
    model: Any = MISSING
    loss: Any = MISSING
    checkpoint: str = "shipped"
    allow_seen: bool = False
    logger: Any = MISSING


def run(run: Run[Evaluate]) -> Metrics:
    """Metrics on the test side of the split, of the model and of what learns nothing."""
    config = run.config
    model = open_model(config.model, config.loss, config.checkpoint)
    table = config.data.divide(config.data.table(), config.seed).test
    checkpoint = checkpoint_file(config.model, config.loss, config.checkpoint)
    seen = num_seen(checkpoint, table, config.data.split, config.seed, config.allow_seen)
    data = comparable_features("be judged on", table, config.data.feature_cache())
    baselines: list[CostModel] = [RooflineModel(), ConstantModel(), RandomModel(config.seed)]
    models = [model, *(baseline for baseline in baselines if baseline.name != model.name)]
    judgements = {each.name: judge(each, data, config.seed) for each in models}
    rows = [(name, *(judgement.model[metric] for metric in SHOWN)) for name, judgement in judgements.items()]
    ceiling = judgements[model.name].ceiling
    rows.append(("noise ceiling", *(ceiling.get(metric, float("nan")) for metric in SHOWN)))
    show_table(f"{len(data.learnable().tasks)} tasks, {len(data)} candidates", ["model", *SHOWN], rows)
    return {
        **judgements[model.name].flat(),
        **{f"roofline_{name}": judgements["roofline"].model[name] for name in ("pairwise_accuracy", "top5")},
        **({} if seen is None else {"num_seen_tasks": seen}),
        "model": model.name,
        "candidates_per_s": scoring_rate(model, data),
        "num_test_tasks": len(data.learnable().tasks),
        "num_test_candidates": len(data),
    }


if __name__ == "__main__":
    register_groups()
    launch("evaluate", Evaluate, run)
