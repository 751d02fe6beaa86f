"""Results of compilation in a folder: one file per kernel and target, whole or absent."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from codegen.gpu_target import GpuTarget
from codegen.triton.compile import Resources, triton_version
from codegen.triton.kernels import KernelSource

RESULT_VERSION = 1
"""Raised whenever a result says other things of the same kernel, so that no older one is taken."""


def default_folder() -> Path:
    """Where results are kept unless it is said otherwise: in the user's folder for caches."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "looprank" / "triton"


class CompileCache:
    """A folder, shared by any number of processes.

    A file is named by the hash of all that decides the result: the kernel, its options, the architecture
    and the version of Triton. One that was cut short or changed does not count: it is replaced. What
    failed to compile is kept too, as the message.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._compiler = {"result": RESULT_VERSION, "triton": triton_version()}

    def key(self, kernel: KernelSource, target: GpuTarget) -> str:
        """64 hex digits."""
        parts = {
            **self._compiler,
            "kernel": asdict(kernel),
            "target": [target.backend, target.arch, target.warp_size],
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def get(self, key: str) -> Resources | str | None:
        """What is known: resources, the message of a failure, or None."""
        try:
            entry = json.loads(self._path(key).read_bytes())
            content = entry["content"]
            if entry["sha256"] != _checksum(content):
                return None
            return content["message"] if "message" in content else Resources(**content["resources"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def put(self, key: str, result: Resources | str) -> None:
        """Keep a result; OSError if the folder cannot be written."""
        content = {"message": result} if isinstance(result, str) else {"resources": asdict(result)}
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, partial = tempfile.mkstemp(dir=path.parent, prefix=".partial_")
        with os.fdopen(descriptor, "w") as file:
            json.dump({"content": content, "sha256": _checksum(content)}, file)
        os.replace(partial, path)

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.json"


def _checksum(content: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
