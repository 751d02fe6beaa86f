"""Compiled kernels as folders: saved by one process, called by another without compiling again.

A folder holds ``loops.txt`` (the loop AST), ``kernel.ll``, ``kernel.o``, ``kernel.json`` (see ``FORMAT``),
and where a C compiler is found ``kernel.so`` with ``kernel.h``.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm

from codegen.ir.loops import Buffer, Scope
from codegen.ir.text import loop_text
from codegen.llvm.header import c_header
from codegen.llvm.kernel import Kernel
from codegen.llvm.native import load_object
from codegen.llvm.signature import Signature
from codegen.target import Target

FORMAT = 1
"""Version of ``kernel.json``."""

LANE_FEATURES = {4: (), 8: ("avx2", "fma"), 16: ("avx512f", "avx512bw", "avx512dq", "avx512vl")}
"""What vectors of so many lanes need of an x86 CPU."""


def save_kernel(kernel: Kernel, folder: str | Path, metadata: Mapping[str, object]) -> Path:
    """Write a kernel; a folder of that name is replaced in one step, or left as it was on failure.

    Args:
        kernel: one that was compiled here, not loaded.
        folder: where to; parents are made.
        metadata: JSON values kept under ``metadata`` in ``kernel.json``.

    Raises:
        ValueError: if the kernel was loaded from a folder, or metadata is not JSON.
    """
    if kernel.loops is None:
        raise ValueError(f"{kernel.signature.symbol} was loaded from a folder: copy that folder instead")
    files = {
        "loops.txt": loop_text(kernel.loops).encode(),
        "kernel.ll": kernel.text.encode(),
        "kernel.o": kernel.native.code,
    }
    try:
        description = json.dumps(_described(kernel, files, metadata), indent=2) + "\n"
    except TypeError as error:
        raise ValueError(f"metadata must be JSON values: {error}") from error
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        made.chmod(0o755)
        for name, content in files.items():
            (made / name).write_bytes(content)
        (made / "kernel.json").write_text(description)
        _link_shared(kernel.signature, made)
        _replace(made, folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return folder


def load(folder: str | Path) -> Kernel:
    """The kernel saved in a folder, linked into this process as it is.

    Raises:
        ValueError: if a file is missing or damaged, the format is another, or this CPU lacks vector
            features that the kernel uses.
    """
    folder = Path(folder)
    description = _read_description(folder)
    files = {name: _read_checked(folder, name, str(digest)) for name, digest in description["sha256"].items()}
    target = Target(**description["target"])
    missing = missing_features(target)
    if missing:
        raise ValueError(
            f"kernel in {folder} needs the CPU features {', '.join(missing)}, which this CPU lacks"
        )
    signature = _read_signature(description)
    return Kernel(signature, target, load_object(files["kernel.o"], signature), files["kernel.ll"].decode())


def missing_features(target: Target) -> tuple[str, ...]:
    """Vector features of a target that the CPU at hand does not have, by LLVM's names."""
    there = {name for name, is_there in llvm.get_host_cpu_features().items() if is_there}
    asked = [part[1:] for part in target.llvm_features.split(",") if part.startswith("+")]
    vector = [name for name in asked if name.startswith(("avx", "fma", "sse", "f16c"))]
    needed = dict.fromkeys((*LANE_FEATURES[target.vector_lanes], *vector))
    return tuple(name for name in needed if name not in there)


def _described(
    kernel: Kernel, files: Mapping[str, bytes], metadata: Mapping[str, object]
) -> dict[str, object]:
    signature = kernel.signature
    return {
        "format": FORMAT,
        "symbol": signature.symbol,
        "num_threads": signature.num_threads,
        "prepack_inputs": list(signature.prepack_inputs),
        "arguments": [
            {
                "name": buffer.name,
                "shape": list(buffer.shape),
                "scope": buffer.scope.value,
                "allocate_bytes": 4 * signature.allocated_elements(buffer),
            }
            for buffer in signature.arguments
        ],
        "target": asdict(kernel.target),
        "target_fingerprint": kernel.target.fingerprint,
        "sha256": {name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
        "metadata": dict(metadata),
    }


def _read_description(folder: Path) -> dict[str, Any]:
    try:
        description = json.loads((folder / "kernel.json").read_text())
    except OSError as error:
        raise ValueError(f"no kernel in {folder}: {error}") from error
    except ValueError as error:
        raise ValueError(f"kernel.json in {folder} is damaged: {error}") from error
    version = description.get("format") if isinstance(description, dict) else None
    if version != FORMAT:
        raise ValueError(f"kernel.json in {folder} has format {version!r}, this version reads {FORMAT}")
    keys = {"symbol", "num_threads", "prepack_inputs", "arguments", "target", "sha256"}
    lost = sorted(keys - description.keys())
    if lost:
        raise ValueError(f"kernel.json in {folder} lacks {lost[0]}")
    return dict(description)


def _read_checked(folder: Path, name: str, digest: str) -> bytes:
    try:
        content = (folder / name).read_bytes()
    except OSError as error:
        raise ValueError(f"kernel in {folder} is incomplete: {error}") from error
    found = hashlib.sha256(content).hexdigest()
    if found != digest:
        raise ValueError(f"{name} in {folder} is damaged: its SHA-256 is {found}, not that in kernel.json")
    return content


def _read_signature(description: dict[str, Any]) -> Signature:
    arguments = tuple(
        Buffer(entry["name"], tuple(entry["shape"]), Scope(entry["scope"]))
        for entry in description["arguments"]
    )
    threads, packs = description["num_threads"], tuple(description["prepack_inputs"])
    return Signature(description["symbol"], arguments, threads, packs)


def _link_shared(signature: Signature, folder: Path) -> None:
    """A shared library and its header, where the system can link one; without, the rest is complete."""
    compiler = shutil.which("cc")
    if compiler is None:
        return
    openmp = ["-lgomp"] if signature.num_threads > 1 else []
    command = [compiler, "-shared", "-o", "kernel.so", "kernel.o", *openmp]
    done = subprocess.run(command, cwd=folder, capture_output=True, check=False)
    if done.returncode == 0:
        (folder / "kernel.h").write_text(c_header(signature))


def _replace(made: Path, folder: Path) -> None:
    if not folder.exists():
        os.rename(made, folder)
        return
    # A folder that is not empty cannot be renamed over: the old one steps aside for the moment.
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-old-", dir=folder.parent))
    os.rename(folder, aside / "kernel")
    try:
        os.rename(made, folder)
    except OSError:
        os.rename(aside / "kernel", folder)
        raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)
