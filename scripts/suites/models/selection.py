"""Which models, losses, splits and sizes ``suite=models`` compares."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from hydra import compose
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from costmodel.feature_cache import source_hash
from costmodel.model import CostModel
from scripts.options.models import NeuralOption, table_losses, table_models
from scripts.running.code_hash import code_hash
from scripts.running.schemas import reject_added_keys

SPLITS = ("by_task", "within_task", "by_operator", "by_target")
FOLDS = "folds"
"""The tasks that ``by_task`` learns from, in parts: each judges what was learnt from the others.

Options are chosen here, so that the tasks that ``by_task`` keeps apart can judge the choice.
"""


REFERENCE = "xgboost"
"""What others are compared with unless it is said otherwise; where it does not take part, nothing is."""


@dataclass(frozen=True, kw_only=True)
class Selection:
    """More for the table of ``suite=models``; what is not given is as in ``table`` itself."""

    models: list[str] | None = None
    losses: list[str] | None = None
    splits: list[str] | None = None
    every_pair: bool | None = None
    num_seeds: int | None = None
    num_records: list[int] | None = None

    def given(self) -> dict[str, Any]:
        """By name."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class ModelTableConfig:
    """What ``suite=models`` compares; every combination is trained, or read if the run folder has it already.

    ``models`` and ``losses`` are names of files under ``configs/model`` and ``configs/loss``, all that
    ``table_models`` and ``table_losses`` find there unless it is said which; options may follow a name, as in
    ``treegru model.network.hidden=96`` and ``mixture loss.pairwise=1``. Models that minimise no loss of ours
    are trained once for all losses, and those that learn nothing once for all seeds. Unless ``every_pair`` is
    set, only the first model is trained with all losses, and the others with the first loss. ``overrides``
    are for all networks. ``num_records`` are sizes of the training set, 0 for all of it; a smaller one holds
    fewer tasks where they would have too few candidates each. What learns nothing stands beside the largest.
    ``reference`` is the model that the others' difference is taken to. ``also`` are selections beside this
    one, so that more seeds, say, can be for some of the models only.
    """

    models: list[str] = field(default_factory=table_models)
    losses: list[str] = field(default_factory=table_losses)
    splits: list[str] = field(default_factory=lambda: list(SPLITS))
    every_pair: bool = False
    num_seeds: int = 1
    num_records: list[int] = field(default_factory=lambda: [0])
    overrides: list[str] = field(default_factory=list)
    reference: str = REFERENCE
    also: list[Selection] = field(default_factory=list)

    def __post_init__(self) -> None:
        for split in self.splits:
            if split not in (*SPLITS, FOLDS):
                raise ValueError(f"table.splits must be among {', '.join((*SPLITS, FOLDS))}, got {split!r}")
        if self.num_seeds < 1 or not (self.models and self.losses and self.splits and self.num_records):
            raise ValueError(
                "table.models, losses, splits and num_records must not be empty, and table.num_seeds must be "
                f"at least 1, got num_seeds={self.num_seeds}"
            )
        if not all(name.strip() for name in (*self.models, *self.losses)):
            raise ValueError(
                f"table.models and losses must be names, got {list(self.models)} and {list(self.losses)}"
            )
        if min(self.num_records) < 0:
            raise ValueError(f"table.num_records must not be negative, got {min(self.num_records)}")
        models = dict.fromkeys(model for each in self.selections() for model in each.models)
        if self.reference not in (REFERENCE, *models):
            names = ", ".join(models)
            raise ValueError(f"table.reference must be among table.models, {names}; got {self.reference!r}")

    def selections(self) -> list[ModelTableConfig]:
        """The selections whose union is compared, ``also`` empty in each."""
        if not self.also:
            return [self]
        first = replace(self, also=[], reference=REFERENCE)
        return [first, *(replace(first, **each.given()) for each in self.also)]

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

    @property
    def learns(self) -> bool:
        """Whether there is anything to train."""
        return not self.build().is_fitted

    def digest(self, facts: list[Any]) -> str:
        """16 hex digits over the facts, the options, and the code of the model and of its features."""
        encoder = [self.option.encoder()] if isinstance(self.option, NeuralOption) else []
        code = [source_hash(), code_hash(self.build(), self.loss_option, *encoder)]
        text = json.dumps([*facts, self.model, self.settings, code], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def contestants(config: ModelTableConfig, script: str) -> list[Contestant]:
    """All combinations that differ, composed as for the script that is running, and as small as its run.

    ValueError (or Hydra's) names a model or a loss that does not exist.
    """
    found: dict[tuple[str, str], Contestant] = {}
    choices = HydraConfig.get().runtime.choices if HydraConfig.initialized() else {}
    size = choices.get("debug", "none")
    for model, loss in config.pairs():
        chosen = [f"debug={size}", f"model={model.split()[0]}", f"loss={loss.split()[0]}"]
        options = [*loss.split()[1:], *model.split()[1:]]
        uses_loss = _composed(script, [*chosen, *options]).model.uses_loss
        composed = compose(script, [*chosen, *(config.overrides if uses_loss else []), *options])
        reject_added_keys(composed)
        settings: Any = OmegaConf.to_object(composed)
        plain: Any = OmegaConf.to_container(composed, resolve=True)
        # Losses without options look alike but for their class.
        minimised = [type(settings.loss).__name__, plain["loss"]] if uses_loss else None
        described = {"model": plain["model"], "loss": minimised}
        shown = loss if uses_loss else "-"
        found.setdefault((model, shown), Contestant(model, shown, settings.model, settings.loss, described))
    return list(found.values())


def _composed(script: str, overrides: list[str]) -> Any:
    return OmegaConf.to_object(compose(script, overrides))
