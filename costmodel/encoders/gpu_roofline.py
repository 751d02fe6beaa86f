"""An analytic model of kernels on a GPU: a roofline with waves, occupancy and launches.

Williams et al. (2009) bound a kernel by arithmetic and by bandwidth. On a GPU neither bound is reached
when there are too few programs for the multiprocessors, when the last wave of programs leaves most of
them idle, or when too few warps are resident to hide latency; ours adds these, from a device's
published data. No coefficient is fitted to measurements; that spilled registers cost traffic and that
repeated reads count was added after a look at recorded GEMM spaces (CLBlast), what elements cost that
are loaded one by one after a look at generated convolutions on an H200: results there flatter it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codegen.gpu_device import GpuDevice

Values = NDArray[np.float64]

_REGISTER_BYTES = 4

BOUNDS = ("arithmetic", "local", "l2", "memory", "waiting")
"""What may hold a kernel up: its flops, bytes of each level from the nearest on, latency of loads."""


@dataclass(frozen=True)
class KernelWork:
    """What kernels do, each field of shape (N,) or broadcast to it.

    ``flops`` are those of the whole grid, ragged tiles counted in full, at ``peak_flops_per_s``; bytes
    are those that threads read from shared memory or the first cache, those that reach the multiprocessors
    and those that come from memory. ``num_steps`` is the number of loads that a program waits for one after
    another; ``num_ahead`` how many of them are on their way at a time; ``num_updates`` how often a program
    goes through what it holds in registers, so that what they do not hold is moved that often.
    """

    num_programs: Values
    num_threads: Values
    num_registers: Values
    shared_bytes: Values
    flops: Values
    local_bytes: Values
    l2_bytes: Values
    memory_bytes: Values
    num_steps: Values
    num_ahead: Values
    num_updates: Values
    peak_flops_per_s: Values


@dataclass(frozen=True, kw_only=True)
class GpuRooflineConfig:
    """Of all GPUs alike: bytes that shared memory and L2 give an SM per cycle, and what latency costs.

    ``busy_warps`` is the number of warps with which an SM reaches its rates; ``load_cycles`` the latency of
    memory; ``launch_s`` the time between kernels.
    """

    local_bytes_per_cycle: float = 128.0
    l2_bytes_per_cycle: float = 64.0
    busy_warps: float = 8.0
    load_cycles: float = 600.0
    launch_s: float = 3e-6

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise ValueError(f"{name} must be positive, got {value}")


def num_resident(work: KernelWork, device: GpuDevice) -> Values:
    """Programs that an SM runs at a time, shape (N,); 0 where one does not fit."""
    warps = np.ceil(work.num_threads / device.warp_size)
    granule = device.register_granule
    registers = np.minimum(work.num_registers, _most_registers(work, device)) * device.warp_size
    of_warp = np.ceil(np.maximum(registers, 1) / granule) * granule
    by_registers = np.floor(np.floor(device.registers_per_sm / of_warp) / warps)
    shared = work.shared_bytes + device.reserved_shared_bytes_per_block
    by_shared = np.floor(device.shared_bytes_per_sm / np.maximum(shared, 1))
    by_shared = np.where(work.shared_bytes > device.shared_bytes_per_block, 0, by_shared)
    by_threads = np.floor(device.max_threads_per_sm / work.num_threads)
    limits = np.minimum(np.minimum(by_registers, by_shared), by_threads)
    resident: Values = np.minimum(limits, float(device.max_blocks_per_sm))
    return resident


def spilled_bytes(work: KernelWork, device: GpuDevice) -> Values:
    """Bytes that all threads write and read again because registers are short, shape (N,)."""
    missing = np.maximum(work.num_registers - _most_registers(work, device), 0)
    moved: Values = 2 * _REGISTER_BYTES * missing * work.num_threads * work.num_programs * work.num_updates
    return moved


def _most_registers(work: KernelWork, device: GpuDevice) -> Values:
    """Of a thread: a compiler spills rather than leave a program without room."""
    return np.minimum(device.max_registers_per_thread, device.registers_per_sm / work.num_threads)


def num_waves(work: KernelWork, device: GpuDevice) -> Values:
    """Rounds in which all SMs together run the programs, shape (N,); infinite where none fits."""
    with np.errstate(divide="ignore"):
        waves: Values = np.ceil(work.num_programs / (device.num_sms * num_resident(work, device)))
    return waves


def bounds_s(work: KernelWork, device: GpuDevice, config: GpuRooflineConfig | None = None) -> Values:
    """Seconds that each of ``BOUNDS`` would take if nothing else took any, shape (len(BOUNDS), N).

    The busiest SM runs ``ceil(programs / SMs)`` programs; where fewer than are resident, they have the SM
    to themselves and its rates suffer for want of warps.
    """
    config = config or GpuRooflineConfig()
    resident = num_resident(work, device)
    busiest = np.ceil(work.num_programs / device.num_sms)
    together = np.maximum(np.minimum(resident, busiest), 1)
    warps = together * np.ceil(work.num_threads / device.warp_size)
    share = busiest / work.num_programs
    efficiency = np.minimum(warps / config.busy_warps, 1)
    arithmetic_s = work.flops * share / (work.peak_flops_per_s / device.num_sms) / efficiency
    local_bytes = work.local_bytes + spilled_bytes(work, device)
    local_s = local_bytes * share / (config.local_bytes_per_cycle * device.clock_hz) / efficiency
    l2_s = work.l2_bytes * share / (config.l2_bytes_per_cycle * device.clock_hz) / efficiency
    num_used = np.minimum(work.num_programs, device.num_sms)
    # An SM alone cannot draw the bandwidth of all: three quarters of them do.
    memory_s = work.memory_bytes / (
        device.memory_bytes_per_s * np.minimum(num_used / (0.75 * device.num_sms), 1)
    )
    waiting_s = (
        np.ceil(busiest / together) * work.num_steps * config.load_cycles / work.num_ahead / device.clock_hz
    )
    return np.stack(np.broadcast_arrays(arithmetic_s, local_s, l2_s, memory_s, waiting_s))


def estimated_s(work: KernelWork, device: GpuDevice, config: GpuRooflineConfig | None = None) -> Values:
    """Seconds by the model, shape (N,), infinite where a program does not fit: no measurement."""
    config = config or GpuRooflineConfig()
    bounds = bounds_s(work, device, config)
    # What is not the bottleneck overlaps with it only in part.
    seconds = bounds.max(axis=0) + 0.25 * (bounds.sum(axis=0) - bounds.max(axis=0)) + config.launch_s
    return np.where(num_resident(work, device) > 0, seconds, np.inf)
