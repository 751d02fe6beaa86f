"""What the machine at hand offers to generated code."""

from __future__ import annotations

import platform
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias

from codegen.measure.cores import ControlGroups, usable_cores
from codegen.target import LANE_FEATURES, Target

VectorWidth: TypeAlias = Literal["auto", 512, 256]

CPU_FOLDER = Path("/sys/devices/system/cpu")

_BF16_NAME = ", bf16 products"
"""What a target's name ends with where ``bf16_dot`` is on."""


@dataclass(frozen=True)
class HostCpu:
    """What LLVM and the operating system say about a CPU.

    ``model`` is the maker's name, ``llvm_cpu`` the name LLVM tunes for, ``features`` maps every
    feature LLVM knows to whether it is there.
    """

    model: str
    llvm_cpu: str
    features: Mapping[str, bool]


@dataclass(frozen=True)
class Caches:
    """Sizes in bytes, as the first core has them: its own, or those that it shares with other cores."""

    l1_bytes: int = 32 * 2**10
    l2_bytes: int = 2**20
    l3_bytes: int = 16 * 2**20
    line_bytes: int = 64


def detect_target(
    num_threads: int | None = None,
    vector_width: VectorWidth = "auto",
    *,
    bf16_dot: bool = False,
    host: HostCpu | None = None,
    cpu_folder: Path = CPU_FOLDER,
    groups: ControlGroups | None = None,
) -> Target:
    """The target that this process can run code for.

    Args:
        num_threads: cores to use; by default all that the process may run on and its container has time for.
        vector_width: bits of a vector register; by default the widest there is. 256 on a wider CPU
            turns AVX-512 off in LLVM as well, so that only 16 registers exist.
        bf16_dot: see ``Target``.
        host: the CPU; the one at hand by default.
        cpu_folder: where the kernel describes caches, ``/sys/devices/system/cpu``.
        groups: where it describes the limits of containers; those of this process by default.

    Raises:
        ValueError: the CPU has no AVX2 with FMA, the width is not there, there are not that many cores, or it
            cannot multiply pairs of bfloat16.
    """
    host = read_host_cpu() if host is None else host
    bits = _chosen_bits(host, vector_width)
    available = usable_cores(groups)
    if num_threads is not None and not 1 <= num_threads <= available:
        raise ValueError(f"num_threads must be from 1 to {available} (usable cores), got {num_threads}")
    threads = available if num_threads is None else num_threads
    caches = read_caches(cpu_folder)
    return Target(
        name=f"{host.model}, {threads} thread{'s' if threads > 1 else ''}, {bits}-bit vectors"
        + _BF16_NAME * bf16_dot,
        cpu=host.model,
        llvm_cpu=host.llvm_cpu,
        llvm_features=llvm_feature_text(host.features, bits),
        vector_lanes=bits // 32,
        num_vector_registers=32 if bits == 512 else 16,
        num_threads=threads,
        l1_bytes=caches.l1_bytes,
        l2_bytes=caches.l2_bytes,
        l3_bytes=caches.l3_bytes,
        cache_line_bytes=caches.line_bytes,
        bf16_dot=bf16_dot,
    )


def without_bf16(target: Target) -> Target:
    """The same machine, detected without the wish for products in bfloat16."""
    return replace(target, name=target.name.removesuffix(_BF16_NAME), bf16_dot=False)


def read_host_cpu() -> HostCpu:
    """The CPU at hand, through LLVM; a feature that the operating system does not enable counts as absent."""
    # Detection is one of two places that need LLVM here; the others stay quick to import.
    import llvmlite.binding as llvm

    return HostCpu(_model_name(), llvm.get_host_cpu_name(), dict(llvm.get_host_cpu_features()))


def llvm_feature_text(features: Mapping[str, bool], vector_bits: int) -> str:
    """LLVM's comma-separated form, sorted, so that equal machines have equal text.

    At 256 bits everything of AVX-512 and AVX10 is off. At 512 bits the tuning that avoids wide
    registers on some CPUs is off: our vectors are explicit.
    """
    off_prefixes = ("avx512", "avx10", "amx-avx512") if vector_bits == 256 else ()
    parts = [
        ("+" if is_there and not name.startswith(off_prefixes) else "-") + name
        for name, is_there in sorted(features.items())
    ]
    return ",".join([*parts, "-prefer-256-bit"] if vector_bits == 512 else parts)


def read_caches(cpu_folder: Path = CPU_FOLDER) -> Caches:
    """Data and unified caches of the first core; what is not described gets a common size and a warning."""
    sizes: dict[int, int] = {}
    line_bytes = Caches.line_bytes
    for folder in sorted((cpu_folder / "cpu0" / "cache").glob("index[0-9]*")):
        described = _read_cache(folder)
        if described is not None:
            level, size, line_bytes = described
            sizes[level] = size
    missing = [level for level in (1, 2) if level not in sizes]
    if missing:
        levels = " and ".join(f"L{level}" for level in missing)
        warnings.warn(
            f"{cpu_folder} does not describe the {levels} cache; common sizes are assumed",
            RuntimeWarning,
            stacklevel=2,
        )
    l2_bytes = sizes.get(2, Caches.l2_bytes)
    # A CPU without a third level is real (the second one is the last); so is a machine that hides all.
    l3_bytes = sizes.get(3, l2_bytes if 2 in sizes else Caches.l3_bytes)
    return Caches(sizes.get(1, Caches.l1_bytes), l2_bytes, l3_bytes, line_bytes)


def _chosen_bits(host: HostCpu, vector_width: VectorWidth) -> int:
    if vector_width not in ("auto", 512, 256):
        raise ValueError(f"vector_width must be auto, 512 or 256, got {vector_width!r}")
    absent = [name for name in LANE_FEATURES[8] if not host.features.get(name)]
    if absent:
        lacks = f"this CPU ({host.model}) lacks {' and '.join(absent)}"
        raise ValueError(f"{lacks}; generated code needs x86-64 with AVX2 and FMA")
    absent_512 = [name for name in LANE_FEATURES[16] if not host.features.get(name)]
    if vector_width == 512 and absent_512:
        lacks = f"this CPU ({host.model}) lacks {', '.join(absent_512)}"
        raise ValueError(f"vector_width=512 needs AVX-512, but {lacks}; use 256")
    return 256 if absent_512 or vector_width == 256 else 512


def _model_name(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return " ".join(value.split())
    return platform.processor() or platform.machine()


def _read_cache(folder: Path) -> tuple[int, int, int] | None:
    """Level, size and line size in bytes; None for an instruction cache or one that is not described well."""
    try:
        if (folder / "type").read_text().strip() == "Instruction":
            return None
        level = int((folder / "level").read_text())
        size = _parse_size((folder / "size").read_text().strip())
        line_file = folder / "coherency_line_size"
        line_bytes = int(line_file.read_text()) if line_file.exists() else Caches.line_bytes
    except (OSError, ValueError):
        return None
    return level, size, line_bytes


def _parse_size(text: str) -> int:
    units = {"K": 2**10, "M": 2**20, "G": 2**30}
    return int(text[:-1]) * units[text[-1]] if text[-1:] in units else int(text)
