"""Targets that tests choose explicitly, so that no test depends on the machine it runs on."""

from __future__ import annotations

from codegen.gpu_target import GpuTarget
from codegen.precision import Precision
from codegen.target import Target


def make_target(lanes: int = 4, num_registers: int = 16, num_threads: int = 2) -> Target:
    """A small imaginary CPU; narrow vectors keep tiles, tails and interpreter runs small."""
    return Target(
        name="imaginary",
        cpu="imaginary",
        llvm_cpu="",
        llvm_features="",
        vector_lanes=lanes,
        num_vector_registers=num_registers,
        num_threads=num_threads,
        l1_bytes=32 << 10,
        l2_bytes=1 << 20,
        l3_bytes=16 << 20,
    )


def make_gpu_target(precision: Precision | None = None) -> GpuTarget:
    """A GPU of no vendor's; nothing of it is needed to lower, emit and interpret."""
    return GpuTarget(
        name="imaginary_gpu",
        backend="cuda",
        arch="sm_80",
        warp_size=32,
        device="a100",
        precision=precision or Precision(),
    )
