"""Models x losses x splits x seeds: what is compared, and the results of each training, kept one by one."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from hydra import compose
from omegaconf import OmegaConf

from costmodel.dataset import FeatureDataset
from costmodel.feature_cache import source_hash
from costmodel.metrics import TaskMetrics
from costmodel.model import CostModel
from datasets.splits import Split, by_operator, by_target, folds
from datasets.table import RecordTable
from scripts.learning.judgement import judge, scoring_effort
from scripts.learning.training import comparable_features, fit_model
from scripts.options.data import DataConfig
from scripts.options.models import NeuralOption
from scripts.running.code_hash import code_hash
from scripts.running.display import say
from scripts.running.outputs import write_text
from scripts.running.schemas import reject_added_keys

SPLITS = ("by_task", "within_task", "by_operator", "by_target")
FOLDS = "folds"
"""The tasks that ``by_task`` learns from, in parts: each judges what was learnt from the others.

Options are chosen here, so that the tasks that ``by_task`` keeps apart can judge the choice.
"""
NUM_FOLDS = 4

WITHIN_TASK = 0.2
"""Share of every task's candidates that ``within_task`` keeps apart."""


REFERENCE = "xgboost"
"""What others are compared with unless it is said otherwise; where it does not take part, nothing is."""


@dataclass(frozen=True, kw_only=True)
class ModelTableConfig:
    """What ``suite=models`` compares; every combination is trained, or read if the run folder has it already.

    ``models`` and ``losses`` are names of files under ``configs/model`` and ``configs/loss``; options may
    follow a name, as in ``treegru model.network.hidden=96`` and ``mixture loss.pairwise=1``. Models that
    minimise no loss of ours are trained once for all losses, and those that learn nothing once for all
    seeds. Unless ``every_pair`` is set, only the first model is trained with all losses, and the others with
    the first loss. ``overrides`` are for all networks. ``num_records`` are sizes of the training set, 0 for
    all of it. ``reference`` is the model that the others' difference is taken to.
    """

    models: list[str] = field(
        default_factory=lambda: [
            "treegru", "treelstm", "context_treegru", "gnn", "transformer", "statement_mlp", "xgboost",
            "xgboost_relations",
            "roofline", "random", "constant",
        ]
    )  # fmt: skip
    losses: list[str] = field(
        default_factory=lambda: [
            "rank_and_time",
            "pairwise",
            "lambda_rank",
            "list_mle",
            "regression",
            "mixture",
        ]
    )
    splits: list[str] = field(default_factory=lambda: list(SPLITS))
    every_pair: bool = False
    num_seeds: int = 1
    num_records: list[int] = field(default_factory=lambda: [0])
    overrides: list[str] = field(default_factory=list)
    reference: str = REFERENCE

    def __post_init__(self) -> None:
        for split in self.splits:
            if split not in (*SPLITS, FOLDS):
                raise ValueError(f"table.splits must be among {', '.join((*SPLITS, FOLDS))}, got {split!r}")
        if self.num_seeds < 1 or not (self.models and self.losses and self.splits and self.num_records):
            raise ValueError(
                "table.models, losses, splits and num_records must not be empty, and table.num_seeds must be "
                f"at least 1, got num_seeds={self.num_seeds}"
            )
        if self.reference not in (REFERENCE, *self.models):
            models = ", ".join(self.models)
            raise ValueError(f"table.reference must be among table.models, {models}; got {self.reference!r}")
        if min(self.num_records) < 0:
            raise ValueError(f"table.num_records must not be negative, got {min(self.num_records)}")

    def pairs(self) -> list[tuple[str, str]]:
        """Models with losses that are compared."""
        pairs = itertools.product(self.models, self.losses)
        first = (self.models[0], self.losses[0])
        return [p for p in pairs if self.every_pair or p[0] == first[0] or p[1] == first[1]]


@dataclass(frozen=True)
class Contestant:
    """A model with the loss it minimises, ``-`` for none; ``settings`` are all of its options."""

    model: str
    loss: str
    option: Any
    loss_option: Any
    settings: Mapping[str, Any]

    def build(self) -> CostModel:
        """Before training."""
        model: CostModel = self.option.build(self.loss_option)
        return model

    def digest(self, facts: list[Any]) -> str:
        """16 hex digits over the facts, the options, and the code of the model and of its features."""
        encoder = [self.option.encoder()] if isinstance(self.option, NeuralOption) else []
        code = [source_hash(), code_hash(self.build(), self.loss_option, *encoder)]
        text = json.dumps([*facts, self.model, self.settings, code], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Cell:
    """One training and its judgement.

    ``tasks``: metrics by task and target, NaN where a task has none; ``groups``: of the same, as in
    ``TaskFeatures``. ``train_cpu_s`` and ``candidates_per_cpu_s`` are ``cpu_s`` of ``Effort``.
    """

    split: str
    model: str
    loss: str
    seed: int
    num_records: int
    num_train: int
    train_s: float
    train_cpu_s: float
    candidates_per_s: float
    candidates_per_cpu_s: float
    num_parameters: int
    tasks: Mapping[str, TaskMetrics]
    groups: Mapping[str, str]
    ceiling: Mapping[str, float]


def contestants(config: ModelTableConfig) -> list[Contestant]:
    """All combinations that differ; ValueError (or Hydra's) names a model or a loss that does not exist."""
    found: dict[tuple[str, str], Contestant] = {}
    for model, loss in config.pairs():
        chosen = [f"model={model.split()[0]}", f"loss={loss.split()[0]}"]
        options = [*loss.split()[1:], *model.split()[1:]]
        uses_loss = _composed([*chosen, *options]).model.uses_loss
        composed = compose("evaluate", [*chosen, *(config.overrides if uses_loss else []), *options])
        reject_added_keys(composed)
        settings: Any = OmegaConf.to_object(composed)
        plain: Any = OmegaConf.to_container(composed, resolve=True)
        described = {"model": plain["model"], "loss": plain["loss"] if uses_loss else None}
        shown = loss if uses_loss else "-"
        found.setdefault((model, shown), Contestant(model, shown, settings.model, settings.loss, described))
    return list(found.values())


def run_cells(config: ModelTableConfig, data: DataConfig, seed: int, folder: Path) -> list[Cell]:
    """Train and judge what ``folder`` does not hold yet; each result is kept as soon as it is there.

    A kept result counts as long as the records, the options and the code it depends on are the same.
    """
    table, records = data.table(), data.file_hash()
    competing = contestants(config)
    cells = []
    splits = ((name, divisions(name, table, data, seed)) for name in config.splits)
    parts = ((name, place, each) for name, several in splits for place, each in enumerate(several))
    for name, place, split in parts:
        sides = _Sides(split, data)
        for contestant, size, number in _trainings(config, competing):
            facts = [records, name, place, data.test_fraction, data.held_out, size, number, seed]
            path = folder / "cells" / f"{contestant.digest(facts)}.json"
            cell = read_cell(path)
            if cell is None:
                cell = _trained(contestant, name, sides, size, seed + number)
                path.parent.mkdir(parents=True, exist_ok=True)
                write_text(path, json.dumps(asdict(cell)))
            cells.append(cell)
    return cells


def divisions(name: str, table: RecordTable, data: DataConfig, seed: int) -> list[Split]:
    """Pairs of sides, one but for ``FOLDS``.

    ``by_operator`` and ``by_target`` learn from the operator or target with most tasks. There are none, with
    a word about it, if there is but one.
    """
    if name == FOLDS:
        whole = replace(data, split="by_task").divide(table, seed)
        return folds(whole.train, NUM_FOLDS, np.random.default_rng(seed))
    if name in ("by_task", "within_task"):
        fraction = data.test_fraction if name == "by_task" else WITHIN_TASK
        return [replace(data, split=name, test_fraction=fraction).divide(table, seed)]
    keys = [t.operator if name == "by_operator" else t.target.fingerprint for t in table.tasks]
    most = max(sorted(set(keys)), key=keys.count)
    others = set(keys) - {most}
    if not others:
        say(f"{name}: left out, as all records are of one {name.removeprefix('by_')} ({most})")
        return []
    return [by_operator(table, others) if name == "by_operator" else by_target(table, others)]


def read_cell(path: Path) -> Cell | None:
    """A kept result; None if there is none, or the file is no such result."""
    try:
        return Cell(**json.loads(path.read_text()))
    except (OSError, TypeError, json.JSONDecodeError):
        return None


class _Sides:
    """Features of the two sides of a split, made when the first training needs them."""

    def __init__(self, split: Split, data: DataConfig) -> None:
        self._split, self._cache = split, data.feature_cache()
        self._made: tuple[FeatureDataset, FeatureDataset] | None = None

    def features(self) -> tuple[FeatureDataset, FeatureDataset]:
        if self._made is None:
            train = comparable_features("learn from", self._split.train, self._cache)
            self._made = train, comparable_features("be judged on", self._split.test, self._cache)
        return self._made


def _trainings(
    config: ModelTableConfig, competing: Sequence[Contestant]
) -> Iterator[tuple[Contestant, int, int]]:
    """Contestant, number of records and seed of each training."""
    for contestant in competing:
        learns = not contestant.build().is_fitted
        sizes = config.num_records if learns else config.num_records[:1]
        for size in sizes:
            for number in range(config.num_seeds if learns else 1):
                yield contestant, size, number


def _trained(contestant: Contestant, split: str, sides: _Sides, size: int, seed: int) -> Cell:
    train, test = sides.features()
    if size:
        train = train.sampled(size, np.random.default_rng(seed))
    model = contestant.build()
    say(f"{split}: {contestant.model}, loss {contestant.loss}, seed {seed}, {len(train)} candidates")
    effort = fit_model(model, train, seed)
    judgement = judge(model, test, seed)
    num_scored, scoring = scoring_effort(model, test)
    return Cell(
        split=split,
        model=contestant.model,
        loss=contestant.loss,
        seed=seed,
        num_records=size,
        num_train=len(train),
        train_s=effort.wall_s,
        train_cpu_s=effort.cpu_s,
        candidates_per_s=num_scored / scoring.wall_s,
        candidates_per_cpu_s=num_scored / scoring.cpu_s,
        num_parameters=model.num_parameters,
        tasks={task.label: task.metrics for task in judgement.tasks},
        groups={task.label: task.group for task in judgement.tasks},
        ceiling={name: value for name, value in judgement.ceiling.items() if math.isfinite(value)},
    )


def _composed(overrides: list[str]) -> Any:
    return OmegaConf.to_object(compose("evaluate", overrides))
