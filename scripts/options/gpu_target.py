"""The part of the group ``target`` that is GPUs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from codegen.gpu_device import gpu_device
from codegen.gpu_target import GPU_TARGETS, GpuTarget
from codegen.precision import DotInput, Precision, Storage
from codegen.triton.compile_cache import CompileCache, default_folder


@dataclass(frozen=True, kw_only=True)
class GpuTargetConfig:
    """A GPU architecture by name, and the formats of tensors and of products (see ``Precision``).

    ``device`` is the GPU whose limits and rates hold, one of ``codegen/devices``; null takes the usual
    one of the architecture. ``cache`` keeps results of compilation; null is the user's folder for caches.
    """

    name: str = "cuda_sm80"
    storage: str = "float16"
    dot_input: str = "ieee"
    device: str | None = None
    cache: str | None = None

    def __post_init__(self) -> None:
        if self.name not in GPU_TARGETS:
            raise ValueError(f"target.name must be one of {', '.join(GPU_TARGETS)}, got {self.name!r}")

    def describe(self) -> GpuTarget:
        """The target; ValueError for an unknown format or device, or a device of another architecture."""
        known = GPU_TARGETS[self.name]
        precision = Precision(cast(Storage, self.storage), cast(DotInput, self.dot_input))
        target = replace(known, precision=precision, device=self.device or known.device)
        arch = gpu_device(target.device).arch
        if arch != target.arch:
            raise ValueError(f"target.device={target.device} is {arch}, but {self.name} is {target.arch}")
        return target

    def compile_cache(self) -> CompileCache:
        """Where results of compilation are kept."""
        return CompileCache(Path(self.cache).expanduser() if self.cache else default_folder())
