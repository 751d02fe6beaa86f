"""Features on disk, so that a second run on the same records does not make them again.

One safetensors file per task, found by a hash of the candidates and of all code that features depend on:
a file that was made by other code is never read. Nothing is ever unpickled.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from costmodel.batching import TreeBatch, TreeGroup
from costmodel.features.columns import FEATURES_VERSION, NODE_COLUMNS
from datasets.table import TaskTable

SOURCES = ("codegen", "costmodel/features")
"""Folders of the project whose code decides what the features of a record are."""


@dataclass(frozen=True)
class FeatureCache:
    """Files under ``folder``, which may be removed at any time; one that is damaged counts as absent."""

    folder: Path

    def load(self, table: TaskTable) -> TreeBatch | None:
        """The trees of a task's candidates, in the table's order; None if they are not there."""
        try:
            return _unpacked(load_file(self._path(table)))
        except (OSError, SafetensorError, KeyError):
            return None

    def save(self, table: TaskTable, trees: TreeBatch) -> None:
        """Keep the trees; the file appears complete or not at all."""
        path = self._path(table)
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}")
        with os.fdopen(handle, "wb") as file:
            file.write(save(_packed(trees)))
        os.replace(temporary, path)

    def _path(self, table: TaskTable) -> Path:
        return self.folder / f"{candidates_hash(table)}-{source_hash()}.safetensors"


def candidates_hash(table: TaskTable) -> str:
    """16 hex digits over the program, the target and all candidates of a task."""
    facts = [table.program_hash, asdict(table.target), table.sketch_names, table.knob_names]
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode())
    for array in (table.sketches, table.knobs):
        digest.update(str(array.shape).encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]


@functools.cache
def source_hash() -> str:
    """16 hex digits over the version of the features and the text of the code that makes them."""
    root = Path(__file__).resolve().parents[1]
    digest = hashlib.sha256(str(FEATURES_VERSION).encode())
    for path in sorted(path for name in SOURCES for path in (root / name).rglob("*.py")):
        digest.update(str(path.relative_to(root)).encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _packed(trees: TreeBatch) -> dict[str, NDArray[Any]]:
    """The arrays of all groups; features that are alike for a whole group are kept once."""
    arrays: dict[str, NDArray[Any]] = {}
    for number, group in enumerate(trees.groups):
        flat = np.concatenate([group.nodes.reshape(len(group), -1), group.programs], axis=1)
        varying = np.flatnonzero((flat != flat[0]).any(axis=0))
        parts = {
            "first": flat[0],
            "varying": varying,
            "values": np.ascontiguousarray(flat[:, varying]),
            "parents": np.array(group.parents, dtype=np.int64),
            "flows": np.array(group.flows, dtype=np.int64).reshape(-1, 2),
            "rows": group.rows,
        }
        arrays.update({f"{number}.{name}": array for name, array in parts.items()})
    return arrays


def _unpacked(arrays: dict[str, NDArray[Any]]) -> TreeBatch:
    groups = []
    for number in range(len({name.partition(".")[0] for name in arrays})):
        part = {key: arrays[f"{number}.{key}"] for key in ("first", "varying", "values", "rows")}
        parents = tuple(arrays[f"{number}.parents"].tolist())
        flows = tuple((writer, user) for writer, user in arrays[f"{number}.flows"].tolist())
        flat = np.tile(part["first"], (len(part["rows"]), 1))
        flat[:, part["varying"]] = part["values"]
        width = len(parents) * len(NODE_COLUMNS)
        nodes = flat[:, :width].reshape(len(flat), len(parents), -1)
        groups.append(TreeGroup(parents, nodes, flat[:, width:], part["rows"], flows))
    return TreeBatch(tuple(groups))
