"""The config groups ``model`` and ``loss``: options as dataclasses that build a cost model or load one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Protocol

from omegaconf import OmegaConf

from costmodel.checkpoint import load_checkpoint, read_header
from costmodel.encoders.baselines import ConstantModel, RandomModel, RooflineConfig, RooflineModel
from costmodel.encoders.gradient_boosting import GradientBoostingConfig, GradientBoostingModel
from costmodel.ensemble import EnsembleConfig, EnsembleModel
from costmodel.global_local import GlobalLocalModel, LocalConfig
from costmodel.model import CostModel
from costmodel.network import EncoderConfig
from costmodel.neural import NeuralModel
from costmodel.train import RefitConfig, TrainConfig
from scripts.running.launch import ROOT

DEFAULT = "costmodel.encoders.treegru.TreeGRUConfig"
DEFAULT_MODEL = "treegru"
DEFAULT_LOSS = "rank_and_time"
"""Of the commands, as ``tests/test_configs.py`` holds."""


class ModelOption(Protocol):
    """A choice of the group ``model``, a dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Any]]
    uses_loss: ClassVar[bool]

    def build(self, loss: Any) -> CostModel:
        """The model before training; those that minimise no loss of ours ignore ``loss``."""

    def load(self, checkpoint: Path, loss: Any) -> CostModel:
        """The model of a checkpoint; ValueError if it holds another one, or one of other options."""


@dataclass(frozen=True, kw_only=True)
class OpenTraining(TrainConfig):
    """OmegaConf knows no Protocols; the group ``loss`` fills this field."""

    loss: Any = None


@dataclass(frozen=True, kw_only=True)
class OpenRefit(RefitConfig):
    """OmegaConf knows no Protocols; the group ``loss`` fills this field."""

    loss: Any = None


@dataclass(frozen=True, kw_only=True)
class NeuralOption:
    """A network: its encoder, its training, and how it goes on learning while tuning.

    ``network`` names the class of an ``EncoderConfig`` as ``_target_``, and its sizes beside it: a file
    under ``configs/model`` is all that makes an encoder known here.
    """

    uses_loss: ClassVar[bool] = True
    network: dict[str, Any] = field(default_factory=lambda: {"_target_": DEFAULT})
    training: OpenTraining = field(default_factory=OpenTraining)
    refit: OpenRefit = field(default_factory=OpenRefit)

    def __post_init__(self) -> None:
        self.encoder()

    def encoder(self) -> EncoderConfig:
        """The configured encoder; ValueError names what its class does not know."""
        sizes = {name: value for name, value in self.network.items() if name != "_target_"}
        return _configured(str(self.network.get("_target_")), sizes)

    def member(self, loss: Any) -> NeuralModel:
        """One network before training."""
        trainings = replace(self.training, loss=loss), replace(self.refit, loss=loss)
        return NeuralModel(self.encoder(), *trainings)

    def build(self, loss: Any) -> CostModel:
        return self.member(loss)

    def load(self, checkpoint: Path, loss: Any) -> CostModel:
        model = load_checkpoint(checkpoint, self.member(loss))
        _check_options(checkpoint, "model.network", self.encoder(), model.config)
        return model


@dataclass(frozen=True, kw_only=True)
class EnsembleOption(NeuralOption):
    """Several networks of one kind."""

    ensemble: EnsembleConfig = field(default_factory=EnsembleConfig)

    def build(self, loss: Any) -> CostModel:
        return EnsembleModel(self.member(loss), self.ensemble)

    def load(self, checkpoint: Path, loss: Any) -> CostModel:
        model = load_checkpoint(checkpoint, EnsembleModel(self.member(loss), self.ensemble))
        _check_options(checkpoint, "model.network", self.encoder(), model.members[0].config)
        _check_options(checkpoint, "model.ensemble", self.ensemble, model.config)
        return model


@dataclass(frozen=True, kw_only=True)
class GlobalLocalOption(NeuralOption):
    """A network, and boosted trees on what it gets wrong on the task that is tuned."""

    local: LocalConfig = field(default_factory=LocalConfig)

    def build(self, loss: Any) -> CostModel:
        return GlobalLocalModel(self.member(loss), self.local)

    def load(self, checkpoint: Path, loss: Any) -> CostModel:
        """A checkpoint of the network alone will do as well."""
        if read_header(checkpoint).model == self.encoder().name:
            network = load_checkpoint(checkpoint, self.member(loss))
            _check_options(checkpoint, "model.network", self.encoder(), network.config)
            return GlobalLocalModel(network, self.local)
        model = load_checkpoint(checkpoint, GlobalLocalModel(self.member(loss), self.local))
        _check_options(checkpoint, "model.network", self.encoder(), model.shared.config)
        _check_options(checkpoint, "model.local", self.local, model.config)
        return model


@dataclass(frozen=True, kw_only=True)
class GradientBoostingOption:
    """XGBoost on flat features."""

    uses_loss: ClassVar[bool] = False
    boosting: GradientBoostingConfig = field(default_factory=GradientBoostingConfig)

    def build(self, loss: Any) -> CostModel:
        return GradientBoostingModel(self.boosting)

    def load(self, checkpoint: Path, loss: Any) -> CostModel:
        model = load_checkpoint(checkpoint, GradientBoostingModel(self.boosting))  # named by its features
        _check_options(checkpoint, "model.boosting", self.boosting, model.config)
        return model


@dataclass(frozen=True, kw_only=True)
class RooflineOption:
    """Arithmetic and bandwidth bounds; it learns nothing."""

    uses_loss: ClassVar[bool] = False
    roofline: RooflineConfig = field(default_factory=RooflineConfig)

    def build(self, loss: Any) -> CostModel:
        return RooflineModel(self.roofline)

    def load(self, checkpoint: Path, loss: Any) -> CostModel:
        model = load_checkpoint(checkpoint, RooflineModel())
        _check_options(checkpoint, "model.roofline", self.roofline, model.config)
        return model


@dataclass(frozen=True, kw_only=True)
class RandomOption:
    """Random scores."""

    uses_loss: ClassVar[bool] = False

    def build(self, loss: Any) -> CostModel:
        return RandomModel()

    def load(self, checkpoint: Path, loss: Any) -> CostModel:
        return load_checkpoint(checkpoint, RandomModel())


@dataclass(frozen=True, kw_only=True)
class ConstantOption:
    """Equal scores."""

    uses_loss: ClassVar[bool] = False

    def build(self, loss: Any) -> CostModel:
        return ConstantModel()

    def load(self, checkpoint: Path, loss: Any) -> CostModel:
        return load_checkpoint(checkpoint, ConstantModel())


def network_names() -> list[str]:
    """The choices of the group ``model`` that are a single network: on the schema of ``NeuralOption``."""
    defaults = {path.stem: getattr(OmegaConf.load(path), "defaults", None) for path in _choices("model")}
    return [name for name, each in defaults.items() if "neural_schema" in (each or ())]


def table_models() -> list[str]:
    """All that learn from many tasks at once or from none: the default, the other networks, and the rest.

    ``global_local`` corrects a network on the task at hand: ``suite=transfer`` judges it.
    """
    known = (path.stem for path in _choices("model") if path.stem != "global_local")
    return list(dict.fromkeys([DEFAULT_MODEL, *network_names(), *known]))


def table_losses() -> list[str]:
    """All choices of the group ``loss``, the default first."""
    return list(dict.fromkeys([DEFAULT_LOSS, *(path.stem for path in _choices("loss"))]))


def _choices(group: str) -> list[Path]:
    return sorted((ROOT / "configs" / group).glob("*.yaml"))


def _configured(target: str, sizes: Mapping[str, Any]) -> EncoderConfig:
    module, _, name = target.rpartition(".")
    try:
        config: Any = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError):
        config = None
    is_encoder = is_dataclass(config) and hasattr(config, "build")
    if not is_encoder:
        raise ValueError(
            f"model.network._target_ must be the configuration of an encoder, such as "
            f"{DEFAULT}, got {target!r}"
        )
    known = {each.name for each in fields(config)}
    for key, value in sizes.items():
        if key not in known:
            raise ValueError(f"unknown key model.network.{key}; allowed: {', '.join(sorted(known))}")
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValueError(f"model.network.{key} must be a whole number, got {value!r}")
    encoder: EncoderConfig = config(**sizes)
    return encoder


def _check_options(checkpoint: Path, path: str, asked: Any, held: Any) -> None:
    """A checkpoint fixes these options: what was asked for besides would be ignored in silence."""
    for each in fields(held):
        name, value, given = f"{path}.{each.name}", getattr(held, each.name), getattr(asked, each.name)
        if is_dataclass(value):
            _check_options(checkpoint, name, given, value)
        elif given != value:
            raise ValueError(
                f"{name} is {given}, but {checkpoint} holds a model with {value}; "
                f"give {name}={value}, or train one with {given}"
            )
