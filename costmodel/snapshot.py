"""A training on disk, so that one that was stopped goes on as if it had not been. Nothing is unpickled."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor


@dataclass(frozen=True)
class TrainingState:
    """``generator`` is the state of the random numbers, ``arrays`` the weights and the optimizer's moments.

    The names of the arrays start with the part they belong to: network, optimizer or best.
    """

    counts: Mapping[str, int]
    best_quality: float | None
    generator: Mapping[str, Any]
    arrays: Mapping[str, Tensor]

    def part(self, name: str) -> dict[str, Tensor]:
        """The arrays of one part, without its name."""
        prefix = f"{name}."
        return {
            key.removeprefix(prefix): array for key, array in self.arrays.items() if key.startswith(prefix)
        }


def save_snapshot(path: Path, identity: str, state: TrainingState) -> None:
    """Replace the file in one step, which a power cut survives; ``identity`` says of which training it is."""
    header = {
        "identity": identity,
        "counts": dict(state.counts),
        "best_quality": state.best_quality,
        "generator": dict(state.generator),
    }
    arrays = {name: array.detach().contiguous() for name, array in state.arrays.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("wb") as file:
        file.write(save(arrays, metadata={"training": json.dumps(header)}))
        file.flush()
        os.fsync(file.fileno())  # else the new name may reach the disk before what is in the file
    os.replace(partial, path)


def load_snapshot(path: Path, identity: str) -> TrainingState | None:
    """What was saved; None if nothing was.

    Raises:
        ValueError: the file is of another training, or no snapshot.
    """
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {})["training"])
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError, KeyError) as error:
        raise ValueError(f"{path} is no snapshot of a training: {error}") from None
    if header["identity"] != identity:
        raise ValueError(
            f"{path} is of a training with other data or options; choose another run folder, or remove it"
        )
    return TrainingState(header["counts"], header["best_quality"], header["generator"], arrays)
