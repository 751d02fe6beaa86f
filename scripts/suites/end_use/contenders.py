"""Who is compared in the real tuner: models in the annealer, and searches that ask no model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from hydra import compose
from omegaconf import OmegaConf

from codegen.ops import WORKLOADS
from costmodel.checkpoint import save_checkpoint
from scripts.learning.guide import Guide
from scripts.learning.seen_tasks import training_notes
from scripts.learning.training import comparable_features, fit_model
from scripts.options.data import DataConfig
from scripts.options.figures import ComparisonConfig
from scripts.options.models import RandomOption
from scripts.options.searches import SEARCH_OPTIONS, AnnealerConfig, SearchOption
from scripts.suites.models.selection import Contestant, ModelTableConfig, contestants
from scripts.suites.search_efficiency.runs import Method

FROM_TRIALS = "from_trials"


@dataclass(frozen=True, kw_only=True)
class EndUseConfig:
    """Who takes part, each under a name of its own in the tables.

    ``models`` are named as in ``table.models``, options included, and guide the annealer after training on
    the side of ``data`` to learn from; each seed of the figure has a training of its own. Those of
    ``from_trials`` start untrained, as in the papers, and are shown as ``<model>_from_trials``. ``searches``
    are names of files under ``configs/search`` that ask no model. ``overrides`` are for all networks.
    ``reference`` is what the others' savings are counted against.
    In each sitting every schedule that was the fastest of its run at some time, and is not far from the best
    of all, is timed again ``num_rounds`` times; ``num_sittings`` with near cores count (``hold_sittings``).
    """

    models: list[str] = field(default_factory=lambda: ["treegru", "xgboost", "roofline"])
    from_trials: list[str] = field(default_factory=list)
    searches: list[str] = field(default_factory=lambda: ["random"])
    loss: str = "rank_and_time"
    overrides: list[str] = field(default_factory=list)
    reference: str = "random"
    num_sittings: int = 4
    num_rounds: int = 5

    def __post_init__(self) -> None:
        names = self.names()
        if not names or len(set(names)) != len(names):
            raise ValueError(
                "end_use.models, from_trials and searches must have different names, at least one; "
                f"got {', '.join(names) or 'none'}"
            )
        free = [name for name, option in SEARCH_OPTIONS.items() if not option.uses_model]
        for search in self.searches:
            if search not in free:
                raise ValueError(f"end_use.searches must be among {', '.join(free)}; got {search!r}")
        if min(self.num_sittings, self.num_rounds) < 1:
            raise ValueError(
                "end_use.num_sittings and num_rounds must be at least 1, got "
                f"{self.num_sittings} and {self.num_rounds}"
            )
        if self.reference not in names:
            raise ValueError(f"end_use.reference must be among {', '.join(names)}; got {self.reference!r}")

    def names(self) -> list[str]:
        """Of all contenders, in the order of the tables."""
        return [*self.models, *(f"{model}_{FROM_TRIALS}" for model in self.from_trials), *self.searches]

    def contestants(self, models: Sequence[str]) -> list[Contestant]:
        """Some of the models with the loss; ValueError (or Hydra's) names one that does not exist."""
        if not models:
            return []
        table = ModelTableConfig(
            models=list(models), losses=[self.loss], overrides=self.overrides, reference=models[0]
        )
        return contestants(table, "benchmark")


def end_use_methods(
    config: EndUseConfig,
    figure: ComparisonConfig,
    annealer: AnnealerConfig,
    data: DataConfig,
    seed: int,
    folder: Path,
) -> dict[str, Method]:
    """The contenders by name; models are trained here, or read if ``folder`` has them already."""
    trained, untrained = config.contestants(config.models), config.contestants(config.from_trials)
    checkpoints = _checkpoints(trained, figure, data, seed, folder)
    guides = {
        each.model: [Guide(each.option, each.loss_option, path) for path in checkpoints[each.model]]
        for each in trained
    }
    guides |= {
        f"{each.model}_{FROM_TRIALS}": [Guide(each.option, each.loss_option, "none")] for each in untrained
    }
    guided = replace(annealer, trials=figure.guided_trials)
    methods = {name: Method(guided, same, figure.guided_trials) for name, same in guides.items()}
    nobody = Guide(RandomOption(), None, "none")
    for name in config.searches:
        methods[name] = Method(_search_option(name, figure.random_trials), [nobody], figure.random_trials)
    return methods


def _search_option(name: str, trials: int) -> SearchOption:
    composed = compose("benchmark", [f"search={name}", f"search.trials={trials}"])
    option: Any = OmegaConf.to_object(composed.search)
    return cast(SearchOption, option)


def _checkpoints(
    models: Sequence[Contestant], figure: ComparisonConfig, data: DataConfig, seed: int, folder: Path
) -> dict[str, list[str]]:
    """Trained on the side to learn from, by model a file per seed; ``none`` for those that learn nothing."""
    split, features = data.divide(data.table(), seed), None
    known = {task.program_hash for task in split.train.tasks}
    if learnt := [name for name in figure.workloads if WORKLOADS[name].program().hash in known]:
        raise ValueError(f"data.split={data.split} would learn from the workload {learnt[0]}; hold it out")
    facts = [data.file_hash(), data.split, data.test_fraction, data.held_out, seed]
    paths: dict[str, list[str]] = {}
    for each in models:
        if each.build().is_fitted:
            paths[each.model] = ["none"]
            continue
        paths[each.model] = []
        for training in range(seed, seed + figure.num_seeds):
            path = folder / "checkpoints" / f"{each.digest([*facts, training])}.safetensors"
            paths[each.model].append(str(path))
            if not path.exists():
                features = features or comparable_features("learn from", split.train, data.feature_cache())
                model = each.build()
                fit_model(model, features, training)
                save_checkpoint(path, model, features.hash, training_notes(split.train, data, seed))
    return paths
