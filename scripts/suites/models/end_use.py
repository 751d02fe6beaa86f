"""What models are for: each in the real tuner, on workloads that none of them has learnt from."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from codegen.measure.config import MeasureConfig
from codegen.ops import WORKLOADS
from codegen.target import Target
from costmodel.checkpoint import save_checkpoint
from scripts.learning.guide import Guide
from scripts.learning.seen_tasks import training_notes
from scripts.learning.training import comparable_features, fit_model
from scripts.options.data import DataConfig
from scripts.options.figures import ComparisonConfig
from scripts.options.searches import AnnealerConfig
from scripts.running.outputs import write_text
from scripts.suites.models.selection import Contestant, ModelTableConfig, contestants
from scripts.suites.search_efficiency.curves import Curves
from scripts.suites.search_efficiency.runs import Method, searched_curves
from search.curves import trials_to_reach

SHARE = 0.95
"""Of the best known speed, that has to be reached."""


@dataclass(frozen=True, kw_only=True)
class EndUseConfig:
    """``models`` are named as in ``table.models``, options included; ``overrides`` are for all networks."""

    models: list[str] = field(default_factory=lambda: ["treegru", "xgboost", "roofline", "random"])
    loss: str = "rank_and_time"
    overrides: list[str] = field(default_factory=list)

    def contestants(self) -> list[Contestant]:
        """The models; ValueError (or Hydra's) names one that does not exist."""
        names = ", ".join(self.models)
        if not self.models or len(set(self.models)) != len(self.models):
            raise ValueError(f"end_use.models must be different models, at least one; got {names or 'none'}")
        table = ModelTableConfig(
            models=self.models, losses=[self.loss], overrides=self.overrides, reference=self.models[0]
        )
        return contestants(table, "benchmark")


def end_use_curves(
    config: EndUseConfig,
    figure: ComparisonConfig,
    annealer: AnnealerConfig,
    data: DataConfig,
    target: Target,
    measure: MeasureConfig,
    seed: int,
    folder: Path,
) -> dict[str, dict[str, Curves]]:
    """Best latency so far of every run, by workload and model; what ``folder`` holds is not made again."""
    models = config.contestants()
    checkpoints = _checkpoints(models, figure.workloads, data, seed, folder)
    option = replace(annealer, trials=figure.guided_trials)
    methods = {
        each.model: Method(
            option, Guide(each.option, each.loss_option, checkpoints[each.model]), figure.guided_trials
        )
        for each in models
    }
    curves = searched_curves(figure, methods, target, measure, folder / "runs")
    _write_curves(folder / "end_use.csv", curves)
    return curves


def trials_needed(curves: Mapping[str, Curves]) -> tuple[float, dict[str, float]]:
    """For one workload: the best time of all runs, seconds, and the trials of each model to ``SHARE`` of it.

    The mean over its runs; one that never gets there counts as its budget + 1.
    """
    best_s = float(np.nanmin([np.nanmin(each, initial=np.inf) for each in curves.values()]))
    needed = {}
    for model, each in curves.items():
        never = each.shape[1] + 1
        needed[model] = float(np.mean([trials_to_reach(run, best_s / SHARE) or never for run in each]))
    return best_s, needed


def end_use_rows(
    curves: Mapping[str, Mapping[str, Curves]],
) -> tuple[list[str], list[Sequence[object]], dict[str, float]]:
    """Header and rows of a table, and flat metrics: ``<workload>_<model>_trials95`` and their means."""
    models = list(next(iter(curves.values())))
    rows: list[Sequence[object]] = []
    metrics: dict[str, float] = {}
    for workload, each in curves.items():
        best_s, needed = trials_needed(each)
        rows.append((workload, 1e3 * best_s, *(needed[model] for model in models)))
        metrics |= {f"{workload}_{model}_trials95": needed[model] for model in models}
    means = {m: float(np.mean([metrics[f"{workload}_{m}_trials95"] for workload in curves])) for m in models}
    rows.append(("mean", "", *means.values()))
    metrics |= {f"{model}_trials95": mean for model, mean in means.items()}
    return ["workload", "best, ms", *models], rows, metrics


def _checkpoints(
    models: Sequence[Contestant], workloads: Sequence[str], data: DataConfig, seed: int, folder: Path
) -> dict[str, str]:
    """Trained on the side to learn from, a file per model that learns; ``none`` for the others."""
    split, features = data.divide(data.table(), seed), None
    known = {task.program_hash for task in split.train.tasks}
    if learnt := [name for name in workloads if WORKLOADS[name].program().hash in known]:
        raise ValueError(f"data.split={data.split} would learn from the workload {learnt[0]}; hold it out")
    facts = [data.file_hash(), data.split, data.test_fraction, data.held_out, seed]
    paths = {}
    for each in models:
        model = each.build()
        if model.is_fitted:
            paths[each.model] = "none"
            continue
        path = folder / "checkpoints" / f"{each.digest(facts)}.safetensors"
        paths[each.model] = str(path)
        if not path.exists():
            features = features or comparable_features("learn from", split.train, data.feature_cache())
            fit_model(model, features, seed)
            save_checkpoint(path, model, features.hash, training_notes(split.train, data, seed))
    return paths


def _write_curves(path: Path, curves: Mapping[str, Mapping[str, Curves]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["workload", "model", "run", "trial", "best_latency_s"])
    for workload, models in curves.items():
        for model, runs in models.items():
            for number, run in enumerate(runs):
                for trial, best_s in enumerate(run.tolist(), start=1):
                    writer.writerow([workload, model, number, trial, "" if np.isnan(best_s) else best_s])
    write_text(path, text.getvalue())
