"""The config groups ``model`` and ``loss``: options as dataclasses that build a cost model or load one."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol

from costmodel.checkpoint import load_checkpoint
from costmodel.encoders.baselines import ConstantModel, RandomModel, RooflineConfig, RooflineModel
from costmodel.encoders.gradient_boosting import GradientBoostingConfig, GradientBoostingModel
from costmodel.encoders.treegru import TreeGRUConfig, TreeGRUModel
from costmodel.model import CostModel
from costmodel.train import RefitConfig, TrainConfig


class ModelOption(Protocol):
    """A choice of the group ``model``, a dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

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
class TreeGRUOption:
    """The child-sum tree GRU: its sizes, its training, and how it goes on learning while tuning."""

    network: TreeGRUConfig = field(default_factory=TreeGRUConfig)
    training: OpenTraining = field(default_factory=OpenTraining)
    refit: OpenRefit = field(default_factory=OpenRefit)

    def build(self, loss: Any) -> CostModel:
        return TreeGRUModel(self.network, replace(self.training, loss=loss), replace(self.refit, loss=loss))

    def load(self, checkpoint: Path, loss: Any) -> CostModel:
        model = load_checkpoint(checkpoint, TreeGRUModel)
        _check_options(checkpoint, "model.network", self.network, model.config)
        model.training = replace(self.training, loss=loss)
        model.refit = replace(self.refit, loss=loss)
        return model


@dataclass(frozen=True, kw_only=True)
class GradientBoostingOption:
    """XGBoost on flat features."""

    boosting: GradientBoostingConfig = field(default_factory=GradientBoostingConfig)

    def build(self, loss: Any) -> CostModel:
        return GradientBoostingModel(self.boosting)

    def load(self, checkpoint: Path, loss: Any) -> CostModel:
        model = load_checkpoint(checkpoint, GradientBoostingModel)
        _check_options(checkpoint, "model.boosting", self.boosting, model.config)
        return model


@dataclass(frozen=True, kw_only=True)
class RooflineOption:
    """Arithmetic and bandwidth bounds; it learns nothing."""

    roofline: RooflineConfig = field(default_factory=RooflineConfig)

    def build(self, loss: Any) -> CostModel:
        return RooflineModel(self.roofline)

    def load(self, checkpoint: Path, loss: Any) -> CostModel:
        model = load_checkpoint(checkpoint, RooflineModel)
        _check_options(checkpoint, "model.roofline", self.roofline, model.config)
        return model


@dataclass(frozen=True, kw_only=True)
class RandomOption:
    """Random scores."""

    def build(self, loss: Any) -> CostModel:
        return RandomModel()

    def load(self, checkpoint: Path, loss: Any) -> CostModel:
        return load_checkpoint(checkpoint, RandomModel)


@dataclass(frozen=True, kw_only=True)
class ConstantOption:
    """Equal scores."""

    def build(self, loss: Any) -> CostModel:
        return ConstantModel()

    def load(self, checkpoint: Path, loss: Any) -> CostModel:
        return load_checkpoint(checkpoint, ConstantModel)


def _check_options(checkpoint: Path, path: str, asked: Any, held: Any) -> None:
    """A checkpoint fixes these options: what was asked for besides would be ignored in silence."""
    for name, value in asdict(held).items():
        given = getattr(asked, name)
        if given != value:
            raise ValueError(
                f"{path}.{name} is {given}, but {checkpoint} holds a model with {value}; "
                f"give {path}.{name}={value}, or train one with {given}"
            )
