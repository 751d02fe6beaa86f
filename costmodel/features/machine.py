"""What features say of the machine: CPUs as they are, GPUs in the same terms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from codegen.any_target import AnyTarget
from codegen.gpu_device import GpuDevice, gpu_device
from codegen.ir.arithmetic import Int, minimum
from codegen.target import Target
from costmodel.features.accesses import ELEMENT_BYTES


class Machine(Protocol):
    """What the columns of nodes and programs are computed from.

    What a launch decides on a GPU may depend on knobs, and is recorded arithmetic then.
    """

    @property
    def vector_lanes(self) -> Int:
        """Elements that one instruction works on."""

    @property
    def num_vector_registers(self) -> Int:
        """Registers of a thread that hold so many elements."""

    @property
    def num_threads(self) -> int:
        """Iterations of parallel loops that run at a time."""

    @property
    def l1_bytes(self) -> Int:
        """Memory next to a thread."""

    @property
    def l2_bytes(self) -> int:
        """The next cache."""

    @property
    def l3_bytes(self) -> int:
        """The last cache."""


@dataclass(frozen=True)
class GpuMachine:
    """A GPU in a CPU's terms: a program is a thread, what its warps do at once a vector, an SM a core.

    So the columns keep their number and meaning, and an encoder scores candidates of either. Shared
    memory is the first cache; the L2 cache is the second and the last. A loop AST does not say how it is
    launched: more warps show as longer vectors, of which registers hold fewer if they are many, more stages
    of a software pipeline, each of which has a copy of the operands, as a smaller first cache. Trees count
    elements of four bytes: memory of shorter ones shows as larger caches. In what format products are taken
    does not show.
    """

    vector_lanes: Int
    num_vector_registers: Int
    num_threads: int
    l1_bytes: Int
    l2_bytes: int
    l3_bytes: int


def machine_of(target: AnyTarget, knobs: Mapping[str, Int]) -> Machine:
    """The machine of a target; of ``knobs`` those count that Triton launches a kernel with."""
    if isinstance(target, Target):
        return target
    element_bytes = ELEMENT_BYTES if target.precision.storage == "float32" else ELEMENT_BYTES // 2
    warps, stages = knobs.get("num_warps", 1), knobs.get("num_stages", 1)
    return gpu_machine(gpu_device(target.device), warps, stages, element_bytes)


def gpu_machine(
    device: GpuDevice, num_warps: Int = 1, num_stages: Int = 1, element_bytes: int = ELEMENT_BYTES
) -> GpuMachine:
    """The machine of a described device, to a program of so many warps and stages (at least one)."""
    lanes = num_warps * device.warp_size
    longer = ELEMENT_BYTES // element_bytes
    return GpuMachine(
        vector_lanes=lanes,
        num_vector_registers=minimum(device.max_registers_per_thread, device.registers_per_sm // lanes),
        num_threads=device.num_sms,
        l1_bytes=longer * device.shared_bytes_per_sm // num_stages,
        l2_bytes=longer * device.l2_bytes,
        l3_bytes=longer * device.l2_bytes,
    )
