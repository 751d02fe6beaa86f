"""Compiling kernels for GPUs that need not be there, and what they will take up when they run."""

from __future__ import annotations

import io
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codegen.gpu_device import GpuDevice
from codegen.gpu_target import GpuTarget
from codegen.triton.binary import Binary, read_amdgcn, read_cubin
from codegen.triton.kernels import KernelSource
from codegen.triton.run import import_source

_TYPES = {"float32": "*fp32", "float16": "*fp16", "bfloat16": "*bf16"}

_POINTER_ALIGNMENT = 16
"""Bytes: torch aligns every tensor that it allocates by more, and Triton makes use of this much."""


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What a compiled kernel takes up, and what its binary is made of.

    Registers and spilled bytes are those of a thread, shared memory and threads those of a program;
    the rest as in ``Binary``.
    """

    num_registers: int
    spilled_bytes: int
    shared_bytes: int
    num_threads: int
    num_instructions: int
    num_matrix_instructions: int
    widest_load_bits: int

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if type(value) is not int or value < 0:
                raise ValueError(f"{name} must be a whole number from 0 on, got {value!r}")


def use_compiler() -> None:
    """Have this process compile Triton kernels from now on, instead of interpreting them.

    Raises:
        RuntimeError: Triton has been imported to interpret; its own functions cannot be compiled then.
    """
    import sys

    if "triton" in sys.modules and os.environ.get("TRITON_INTERPRET") == "1":
        raise RuntimeError("triton was imported with TRITON_INTERPRET=1: use a fresh process")
    os.environ.pop("TRITON_INTERPRET", None)
    # What Triton does by default, but then with a warning.
    os.environ.setdefault("TRITON_DEFAULT_FP_FUSION", "1")


def triton_version() -> str:
    """Of the Triton that compiles."""
    from importlib.metadata import version

    return version("triton")


@dataclass(frozen=True)
class Assembled:
    """A compiled kernel: its form at each stage, by the names of Triton, and the log of its assembler."""

    stages: Mapping[str, Any]
    shared_bytes: int
    log: str


def compile_kernel(kernel: KernelSource, target: GpuTarget) -> Resources:
    """Compile one kernel for the target's architecture, and read what its binary says; as ``assemble``."""
    assembled = assemble(kernel, target)
    return Resources(
        shared_bytes=assembled.shared_bytes,
        num_threads=kernel.launch.num_warps * target.warp_size,
        **vars(_binary(assembled, target)),
    )


def assemble(kernel: KernelSource, target: GpuTarget) -> Assembled:
    """Compile one kernel for the target's architecture. The process has to ``use_compiler``.

    Pointers count as aligned to 16 bytes, as Triton finds those of torch tensors when it launches, and
    on AMD as reaching less than 2 GiB where they do.

    Raises:
        Exception: whatever Triton, its backend or an assembler raises; the kernel is at fault.
    """
    import triton
    from triton import knobs
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    folder = Path(tempfile.mkdtemp(prefix="looprank_"))
    try:
        function = getattr(import_source(kernel.text, folder), kernel.name)
        signature = {pointer.parameter: _TYPES[pointer.element] for pointer in kernel.pointers}
        signature |= dict.fromkeys(kernel.blocks, "constexpr")
        source = ASTSource(function, signature, dict(kernel.blocks), _attributes(kernel, target))
        arch: Any = int(target.arch.removeprefix("sm_")) if target.backend == "cuda" else target.arch
        options = {"num_warps": kernel.launch.num_warps, "num_stages": kernel.launch.num_stages}
        log = io.StringIO()
        with knobs.cache.scope(), knobs.compilation.scope(), knobs.nvidia.scope(), _without_key():
            knobs.cache.dir = str(folder)
            knobs.compilation.always_compile = True
            knobs.nvidia.dump_ptxas_log = True
            with redirect_stdout(log):
                compiled = triton.compile(
                    source, target=GPUTarget(target.backend, arch, target.warp_size), options=options
                )
        return Assembled(compiled.asm, compiled.metadata.shared, log.getvalue())
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def num_resident(resources: Resources, device: GpuDevice) -> int:
    """Programs that one SM of a device runs at a time; 0 if not even one fits.

    The arithmetic of NVIDIA's occupancy calculator, with the limits of the device.
    """
    warps = resources.num_threads // device.warp_size
    granule = device.register_granule
    registers = -(-max(resources.num_registers, 1) * device.warp_size // granule) * granule
    by_registers = device.registers_per_sm // registers // warps
    shared = resources.shared_bytes + device.reserved_shared_bytes_per_block
    by_shared = device.shared_bytes_per_sm // shared if shared else device.max_blocks_per_sm
    if resources.shared_bytes > device.shared_bytes_per_block:
        by_shared = 0
    by_threads = device.max_threads_per_sm // resources.num_threads
    return min(by_registers, by_shared, by_threads, device.max_blocks_per_sm)


def occupancy(resources: Resources, device: GpuDevice) -> float:
    """Threads that an SM runs at a time, as a part of the most that it can."""
    return num_resident(resources, device) * resources.num_threads / device.max_threads_per_sm


def _attributes(kernel: KernelSource, target: GpuTarget) -> dict[tuple[int, ...], list[list[object]]]:
    attributes: dict[tuple[int, ...], list[list[object]]] = {}
    for position, pointer in enumerate(kernel.pointers):
        attributes[position,] = [["tt.divisibility", _POINTER_ALIGNMENT]]
        if target.backend == "hip" and pointer.size_bytes < 2**31:
            attributes[position,].append(["tt.pointer_range", 32])
    return attributes


@contextmanager
def _without_key() -> Iterator[None]:
    """Spare the key of Triton's own cache, which is not asked here: for it the whole compiler is read."""
    from triton.runtime import cache

    key = cache.triton_key
    cache.triton_key = triton_version
    try:
        yield
    finally:
        cache.triton_key = key


def _binary(assembled: Assembled, target: GpuTarget) -> Binary:
    if target.backend == "cuda":
        return read_cubin(assembled.stages["cubin"], assembled.log)
    return read_amdgcn(assembled.stages["amdgcn"])
