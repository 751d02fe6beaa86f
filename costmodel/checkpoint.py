"""Models on disk: one safetensors file with the arrays and a JSON header. Nothing is ever unpickled."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from costmodel.features.columns import FEATURES_VERSION
from costmodel.model import CostModel, ModelState

FORMAT_VERSION = 1

AnyModel = TypeVar("AnyModel", bound=CostModel)


@dataclass(frozen=True)
class CheckpointHeader:
    """What a checkpoint says of itself; ``notes`` are JSON values about its training."""

    model: str
    features_version: int
    data_hash: str
    config: dict[str, Any]
    notes: dict[str, Any]


def save_checkpoint(
    path: Path, model: CostModel, data_hash: str, notes: dict[str, Any] | None = None
) -> None:
    """Write a model; the file appears complete or not at all."""
    state = model.state()
    header = {
        "format": FORMAT_VERSION,
        "model": model.name,
        "features_version": FEATURES_VERSION,
        "data_hash": data_hash,
        "config": dict(state.config),
        "notes": notes or {},
    }
    arrays = {name: np.ascontiguousarray(array) for name, array in state.arrays.items()}
    content = save(arrays, metadata={"looprank": json.dumps(header)})
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def read_header(path: Path) -> CheckpointHeader:
    """What a checkpoint holds, without its arrays; ValueError as ``load_checkpoint``."""
    return _read(path)[0]


def load_checkpoint(path: Path, model: AnyModel, data_hash: str | None = None) -> AnyModel:
    """The saved model of the same kind as a given one, with that one's options of learning.

    Raises:
        ValueError: if the file is missing, damaged or no checkpoint, or holds another model or other
            features, or (if a hash is given) was trained on other data; it names both values. Or the model
            refuses its arrays.
    """
    header, state = _read(path)
    if header.model != model.name:
        raise ValueError(f"{path} holds a {header.model!r} model, not {model.name!r}")
    if data_hash is not None and header.data_hash != data_hash:
        raise ValueError(f"{path} was trained on data {header.data_hash}, not on {data_hash}")
    try:
        return model.restored(state)
    except ValueError as error:
        raise ValueError(f"{path} cannot be used: {error}") from None


def _read(path: Path) -> tuple[CheckpointHeader, ModelState]:
    if not path.is_file():
        raise ValueError(f"there is no checkpoint {path}")
    try:
        with safe_open(path, framework="numpy") as file:
            text = (file.metadata() or {}).get("looprank")
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} is damaged or not a checkpoint: {error}") from None
    if text is None:
        raise ValueError(f"{path} is not a checkpoint of this project: it has no header")
    header = json.loads(text)
    if header.get("format") != FORMAT_VERSION:
        raise ValueError(
            f"{path} has checkpoint format {header.get('format')}, this version reads {FORMAT_VERSION}"
        )
    version = header["features_version"]
    if version != FEATURES_VERSION:
        raise ValueError(
            f"{path} was trained on features version {version}, this code makes {FEATURES_VERSION}"
        )
    known = CheckpointHeader(header["model"], version, header["data_hash"], header["config"], header["notes"])
    return known, ModelState(known.config, arrays)
