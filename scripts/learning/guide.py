"""The model that guides a search: shipped, trained by you, or learning from the trials alone."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from codegen.schedule import Space
from costmodel.model import CostModel
from costmodel.predictor import Predictor
from scripts.options.models import ModelOption
from scripts.running.launch import ROOT

PRETRAINED = ROOT / "costmodel" / "pretrained"


@dataclass(frozen=True)
class Guide:
    """Options of the groups ``model`` and ``loss``; ``checkpoint`` is a file, ``shipped`` or ``none``."""

    option: ModelOption
    loss: Any
    checkpoint: str

    def predictor(self, space: Space, seed: int, num_threads: int | None = None) -> Predictor:
        """The model at work on a space, by default on the target's threads; ValueError as ``open_model``."""
        model = open_model(self.option, self.loss, self.checkpoint)
        return Predictor(model, space, seed, num_threads or space.target.num_threads)

    def identity(self) -> dict[str, Any]:
        """What fixes all scores, by name; a checkpoint counts by content."""
        return {
            "model": asdict(self.option),
            "loss": {"name": type(self.loss).__name__, **asdict(self.loss)},
            "checkpoint_sha256": self.checkpoint_sha256(),
        }

    def checkpoint_sha256(self) -> str | None:
        """Of the bytes of the checkpoint, wherever it lies; None if no checkpoint is read."""
        path = checkpoint_file(self.option, self.loss, self.checkpoint)
        return None if path is None else hashlib.sha256(path.read_bytes()).hexdigest()


def open_model(option: ModelOption, loss: Any, checkpoint: str) -> CostModel:
    """The model, trained unless ``checkpoint`` is ``none`` or it is one that learns nothing.

    Raises:
        ValueError: there is no such checkpoint, or it holds another model.
    """
    path = checkpoint_file(option, loss, checkpoint)
    return option.build(loss) if path is None else option.load(path, loss)


def open_trained(option: ModelOption, loss: Any, checkpoint: str) -> CostModel:
    """As ``open_model``, for what an untrained model has no answer to; ValueError if it is untrained."""
    model = open_model(option, loss, checkpoint)
    if not model.is_fitted:
        raise ValueError(
            f"checkpoint={checkpoint} leaves model {model.name} untrained; train it with scripts/train.py "
            "and give the file's path as checkpoint=..."
        )
    return model


def checkpoint_file(option: ModelOption, loss: Any, checkpoint: str) -> Path | None:
    """The file that ``open_model`` reads, None if it reads none; ValueError if the model has none shipped."""
    if checkpoint not in ("none", "shipped"):
        return Path(checkpoint)
    untrained = option.build(loss)
    if checkpoint == "none" or untrained.is_fitted:
        return None
    shipped = PRETRAINED / f"{untrained.name}.safetensors"
    if not shipped.exists():
        raise ValueError(
            f"no checkpoint of model {untrained.name} is shipped; train one with scripts/train.py and give "
            "its path as checkpoint=... (tune.py can learn from the trials alone as well: checkpoint=none)"
        )
    return shipped
