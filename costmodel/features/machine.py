"""What features say of the machine: CPUs as they are, GPUs in the same terms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from codegen.gpu_device import GpuDevice, gpu_device
from codegen.gpu_target import GpuTarget
from codegen.target import Target


class Machine(Protocol):
    """What the columns of nodes and programs are computed from."""

    @property
    def vector_lanes(self) -> int:
        """Elements that one instruction works on."""

    @property
    def num_vector_registers(self) -> int:
        """Registers of a thread that hold so many elements."""

    @property
    def num_threads(self) -> int:
        """Iterations of parallel loops that run at a time."""

    @property
    def l1_bytes(self) -> int:
        """Memory next to a thread."""

    @property
    def l2_bytes(self) -> int:
        """The next cache."""

    @property
    def l3_bytes(self) -> int:
        """The last cache."""


@dataclass(frozen=True)
class GpuMachine:
    """A GPU in a CPU's terms: a program is a thread, a warp a vector, an SM a core.

    So the columns keep their number and meaning, and an encoder scores candidates of either. Shared
    memory is the first cache; the L2 cache is the second and the last.
    """

    vector_lanes: int
    num_vector_registers: int
    num_threads: int
    l1_bytes: int
    l2_bytes: int
    l3_bytes: int


def machine_of(target: Target | GpuTarget) -> Machine:
    """The machine of a target."""
    if isinstance(target, Target):
        return target
    return gpu_machine(gpu_device(target.device))


def gpu_machine(device: GpuDevice) -> GpuMachine:
    """The machine of a described device."""
    return GpuMachine(
        vector_lanes=device.warp_size,
        num_vector_registers=device.max_registers_per_thread,
        num_threads=device.num_sms,
        l1_bytes=device.shared_bytes_per_sm,
        l2_bytes=device.l2_bytes,
        l3_bytes=device.l2_bytes,
    )
