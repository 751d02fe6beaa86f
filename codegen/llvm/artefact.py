"""Compiled kernels as folders: saved by one process, called by another without compiling again.

A folder holds ``loops.txt`` (the loop AST), ``kernel.ll``, ``kernel.o``, ``kernel.json`` (see
``codegen.llvm.description``), and where a C compiler is found ``kernel.so`` with ``kernel.h``.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

import llvmlite.binding as llvm

from codegen.ir.text import loop_text
from codegen.llvm.build import compile_object
from codegen.llvm.description import description_text, read_description
from codegen.llvm.emit import emit_module
from codegen.llvm.header import c_header
from codegen.llvm.kernel import Kernel
from codegen.llvm.native import load_objects
from codegen.llvm.signature import Signature
from codegen.target import LANE_FEATURES, Target

CODE_FEATURES = ("avx", "sse", "fma", "f16c", "bmi", "lzcnt", "popcnt", "movbe", "adx")
"""How the features begin whose instructions LLVM chooses by itself."""


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
    text = emit_module(kernel.loops, kernel.target).text
    files = {
        "loops.txt": loop_text(kernel.loops).encode(),
        "kernel.ll": text.encode(),
        "kernel.o": compile_object(text, kernel.target),
    }
    try:
        description = description_text(kernel.signature, kernel.target, files, metadata)
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
        ValueError: if a file is missing or damaged, the format is another, or this CPU is of another
            architecture or lacks features that the kernel uses.
    """
    folder = Path(folder)
    description = read_description(folder)
    files = {name: _read_checked(folder, name, digest) for name, digest in description.sha256.items()}
    signature, target = description.signature, description.target
    missing = missing_features(target)
    if missing:
        raise ValueError(
            f"kernel in {folder} needs the CPU features {', '.join(missing)}, which this CPU lacks"
        )
    try:
        native = load_objects((files["kernel.o"],), signature)
    except ValueError as error:
        raise ValueError(f"kernel.o in {folder} cannot be used: {error}") from error
    return Kernel(signature, target, native)


def missing_features(target: Target) -> tuple[str, ...]:
    """Features that code for a target uses and the CPU at hand does not have, by LLVM's names."""
    there = {name for name, is_there in llvm.get_host_cpu_features().items() if is_there}
    asked = [part[1:] for part in target.llvm_features.split(",") if part.startswith("+")]
    used = [name for name in asked if name.startswith(CODE_FEATURES)]
    needed = dict.fromkeys((*LANE_FEATURES[target.vector_lanes], *used))
    return tuple(name for name in needed if name not in there)


def _read_checked(folder: Path, name: str, digest: str) -> bytes:
    try:
        content = (folder / name).read_bytes()
    except OSError as error:
        raise ValueError(f"kernel in {folder} is incomplete: {error}") from error
    found = hashlib.sha256(content).hexdigest()
    if found != digest:
        raise ValueError(f"{name} in {folder} is damaged: its SHA-256 is {found}, not that in kernel.json")
    return content


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
