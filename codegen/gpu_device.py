"""What a GPU offers to kernels at run time, from data files: limits, clocks and published peak rates."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).resolve().parent / "devices"

FORMATS = ("float32", "tf32", "float16", "bfloat16")
"""Formats that a peak rate may be given for."""

_COUNTS = {
    "warp_size": 1,
    "num_sms": 1,
    "max_threads_per_block": 1,
    "max_threads_per_sm": 1,
    "max_blocks_per_sm": 1,
    "registers_per_sm": 1,
    "max_registers_per_thread": 1,
    "register_granule": 1,
    "shared_bytes_per_sm": 1,
    "shared_bytes_per_block": 1,
    "reserved_shared_bytes_per_block": 0,
    "l2_bytes": 1,
}
"""Fields that are whole numbers, with the least that they can be."""


@dataclass(frozen=True, kw_only=True)
class GpuDevice:
    """A GPU by its vendor's documents, which ``source`` names.

    An "SM" is a streaming multiprocessor of NVIDIA or a compute unit of AMD. ``register_granule`` counts
    the 32-bit registers by which those of a warp are rounded up; ``reserved_shared_bytes_per_block`` is
    what the driver takes of an SM's shared memory for each block. Rates of ``peak_flops_per_s`` are dense
    products with sums of float32, on tensor cores where the GPU has them for the format.
    """

    name: str
    backend: str
    arch: str
    warp_size: int
    num_sms: int
    clock_hz: float
    max_threads_per_block: int
    max_threads_per_sm: int
    max_blocks_per_sm: int
    registers_per_sm: int
    max_registers_per_thread: int
    register_granule: int
    shared_bytes_per_sm: int
    shared_bytes_per_block: int
    reserved_shared_bytes_per_block: int
    l2_bytes: int
    memory_bytes_per_s: float
    peak_flops_per_s: Mapping[str, float]
    source: str

    def __post_init__(self) -> None:
        for name in ("name", "arch", "source"):
            if not isinstance(getattr(self, name), str) or not getattr(self, name):
                raise ValueError(f"{name} must be text, got {getattr(self, name)!r}")
        if self.backend not in ("cuda", "hip"):
            raise ValueError(f"backend must be cuda or hip, got {self.backend!r}")
        for name, least in _COUNTS.items():
            value = getattr(self, name)
            if type(value) is not int or value < least:
                raise ValueError(f"{name} must be a whole number from {least} on, got {value!r}")
        block, whole = self.shared_bytes_per_block, self.shared_bytes_per_sm
        if block > whole:
            raise ValueError(f"shared_bytes_per_block must not exceed {whole}, those of an SM, got {block}")
        self._check_rates()

    def _check_rates(self) -> None:
        rates = {"clock_hz": self.clock_hz, "memory_bytes_per_s": self.memory_bytes_per_s}
        rates |= {f"peak_flops_per_s.{name}": value for name, value in self.peak_flops_per_s.items()}
        for name, value in rates.items():
            if type(value) is not float or not 0 < value < math.inf:
                raise ValueError(f"{name} must be a positive number with a decimal point, got {value!r}")
        given = set(self.peak_flops_per_s)
        if given - set(FORMATS) or "float32" not in given:
            raise ValueError(
                f"peak_flops_per_s needs float32 and allows {', '.join(FORMATS)}, got {sorted(given)}"
            )

    def peak(self, multiplied: str) -> float:
        """Flops per second of products in a format; without a rate of its own, that of float32."""
        return self.peak_flops_per_s.get(multiplied, self.peak_flops_per_s["float32"])


def device_names() -> tuple[str, ...]:
    """Every device that is described."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.yaml")))


@cache
def gpu_device(name: str) -> GpuDevice:
    """A described device; ValueError for another name."""
    if name not in device_names():
        raise ValueError(f"device must be one of {', '.join(device_names())}, got {name!r}")
    return load_device(FOLDER / f"{name}.yaml")


def load_device(path: Path) -> GpuDevice:
    """Read a description.

    Raises:
        ValueError: the file cannot be read, or a field is missing, unknown or impossible; it is named.
    """
    try:
        found: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"cannot read a device from {path}: {' '.join(str(error).split())}") from None
    if not isinstance(found, dict) or not isinstance(found.get("peak_flops_per_s"), dict):
        raise ValueError(f"{path} must map names to values, and peak_flops_per_s formats to rates")
    expected = {field.name for field in fields(GpuDevice)}
    if found.keys() != expected:
        wrong = sorted(str(name) for name in found.keys() ^ expected)
        raise ValueError(f"{path}: missing or unknown: {', '.join(wrong)}")
    try:
        return GpuDevice(**found)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
