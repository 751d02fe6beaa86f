"""Features of GPU candidates, many at once: waves, occupancy, bytes for each level, intensity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from codegen.gpu_device import gpu_device
from codegen.gpu_target import GpuTarget
from codegen.schedule.candidates import Candidates
from codegen.schedule.space import Space
from codegen.triton.compile import Resources
from codegen.triton.limits import Limits
from costmodel.encoders.gpu_roofline import KernelWork, num_resident, num_waves
from costmodel.features.columns import Column, Scale
from costmodel.features.gpu_facts import FACTS, SketchFacts

GPU_COLUMNS: tuple[Column, ...] = (
    Column("num_kernels", "kernels", Scale.RAW),
    Column("num_programs", "programs of the largest grid"),
    Column("num_threads", "threads of a program"),
    Column("num_stages", "stages of the software pipeline", Scale.RAW),
    Column("num_waves", "rounds of the largest grid", Scale.LOG),
    Column("wave_fill", "programs / (rounds x programs in a round)", Scale.RAW),
    Column("num_resident", "programs that an SM runs at a time", Scale.LOG_PLUS_ONE),
    Column("occupancy", "threads of an SM / the most it can run", Scale.RAW),
    Column("num_registers", "registers of a thread, estimated"),
    Column("shared_bytes", "bytes of shared memory of a program", Scale.LOG_PLUS_ONE),
    Column("flops", "flops of all kernels, ragged tiles in full", Scale.LOG_PLUS_ONE),
    Column("matrix_share", "flops in matrix products / flops", Scale.RAW),
    Column("l2_bytes", "bytes that reach the SMs, whole sectors"),
    Column("memory_bytes", "bytes from and to memory"),
    Column("l2_intensity", "flops / bytes that reach the SMs", Scale.LOG_PLUS_ONE),
    Column("intensity", "flops / bytes from memory", Scale.LOG_PLUS_ONE),
    Column("num_steps", "loads one after another in a program, all kernels"),
    Column("sector_waste", "bytes of whole sectors / bytes asked for"),
    Column("device_flops", "flops a second of the device in the format of products"),
    Column("device_bandwidth", "bytes a second from memory"),
    Column("device_sms", "multiprocessors"),
)
"""What describes a candidate on a device; ``Scale`` says how a raw value becomes a feature."""

_FIXED_REGISTERS = 24.0
"""Of a thread for addresses, masks and loop counters."""

_REGISTER_BYTES = 4

_SCATTERED_BYTES = 8.0
"""What an element that is loaded by itself costs of the path from the cache and of that to shared memory,
however narrow it is: a lane of each."""


@dataclass(frozen=True)
class GpuFacts:
    """Of N candidates of a space: the work of each kernel, in order; and of all together the columns.

    A candidate with fewer kernels than others of the batch has zeros for the missing ones.
    """

    kernels: tuple[KernelWork, ...]
    columns: NDArray[np.float64]


@dataclass(frozen=True)
class _Products:
    """What ``Limits`` says of the matrix products of N candidates, each of shape (N,)."""

    shared_bytes: NDArray[np.float64]
    is_pipelined: NDArray[np.bool_]
    scattered: NDArray[np.float64]


class GpuFeaturiser:
    """Features of one space's candidates on its target's device."""

    def __init__(self, space: Space[GpuTarget]) -> None:
        self.space = space
        self.device = gpu_device(space.target.device)
        self._limits = Limits(space)
        self._sketches: dict[int, SketchFacts] = {}

    def __call__(self, candidates: Candidates) -> NDArray[np.float64]:
        """Scaled features, shape (N, len(GPU_COLUMNS)); every value is finite."""
        return self.facts(candidates).columns

    def num_steps(self, candidates: Candidates) -> NDArray[np.float64]:
        """Shape (N,): iterations of all programs of all kernels, one after another as on a CPU."""
        result = np.zeros(len(candidates))
        for number, rows in self.space.by_sketch(candidates):
            for facts in self._facts(number, candidates, rows):
                result[rows] += facts["programs"] * facts["steps"]
        return result

    def facts(
        self, candidates: Candidates, compiled: Sequence[Sequence[Resources]] | None = None
    ) -> GpuFacts:
        """The work of each kernel, and the columns.

        ``compiled`` has the kernels of each candidate as the compiler made them, those that pack constants
        first; registers, spilled ones included, and shared memory are theirs then, not estimates.
        """
        num_kernels = max(
            (self._sketch(n).num_kernels for n, _ in self.space.by_sketch(candidates)), default=0
        )
        works = [_no_work(len(candidates)) for _ in range(num_kernels)]
        raw = {column.name: np.ones(len(candidates)) for column in GPU_COLUMNS}
        shared = self._limits.shared_bytes(candidates).astype(np.float64)
        is_pipelined = self._limits.is_pipelined(candidates)
        scattered = self._limits.scattered_elements(candidates)
        for number, rows in self.space.by_sketch(candidates):
            kernels = self._facts(number, candidates, rows)
            values = self.space.values(number, candidates.positions[rows])
            products = _Products(shared[rows], is_pipelined[rows], scattered[rows])
            found = [self._work(facts, values, products) for facts in kernels]
            if compiled is not None:
                own = [compiled[row][-len(found) :] for row in rows]
                found = [with_resources(w, [each[n] for each in own]) for n, w in enumerate(found)]
            for whole, part in zip(works, found):
                for name, array in vars(whole).items():
                    array[rows] = getattr(part, name)
            for name, column in self._raw(found, kernels, values["num_stages"]).items():
                raw[name][rows] = column
        scaled = [_scaled(raw[column.name], column.scale) for column in GPU_COLUMNS]
        return GpuFacts(tuple(works), np.stack(scaled, axis=1))

    def _sketch(self, number: int) -> SketchFacts:
        if number not in self._sketches:
            self._sketches[number] = SketchFacts(self.space.sketches[number], self.space.target)
        return self._sketches[number]

    def _facts(
        self, number: int, candidates: Candidates, rows: NDArray[np.int64]
    ) -> list[dict[str, NDArray[np.float64]]]:
        return self._sketch(number)(self.space.values(number, candidates.positions[rows]))

    def _work(
        self,
        facts: dict[str, NDArray[np.float64]],
        values: dict[str, NDArray[np.int64]],
        products: _Products,
    ) -> KernelWork:
        target, device = self.space.target, self.device
        threads = values["num_warps"].astype(np.float64) * target.warp_size
        multiplies = facts["matrix_flops"] > 0
        rate = np.where(multiplies, device.peak(_multiplied(target)), device.peak("float32"))
        is_pipelined = multiplies & products.is_pipelined
        ahead = np.where(is_pipelined, values["num_stages"] - 1, 1).astype(np.float64)
        scattered = np.where(multiplies, products.scattered * facts["programs"], 0.0)
        registers = _FIXED_REGISTERS + facts["tile_elements"] / threads
        return KernelWork(
            num_programs=facts["programs"],
            num_threads=threads,
            num_registers=registers,
            shared_bytes=np.where(multiplies, products.shared_bytes, 0.0),
            flops=facts["flops"],
            local_bytes=_local_bytes(facts, values["num_warps"]) + _SCATTERED_BYTES * scattered,
            l2_bytes=facts["l2_bytes"],
            memory_bytes=facts["memory_bytes"],
            num_steps=facts["steps"],
            num_ahead=ahead,
            num_updates=facts["steps"],
            peak_flops_per_s=rate,
        )

    def _raw(
        self,
        works: Sequence[KernelWork],
        facts: Sequence[dict[str, NDArray[np.float64]]],
        stages: NDArray[np.int64],
    ) -> dict[str, NDArray[np.float64]]:
        """Columns before scaling; of several kernels the largest grid speaks for occupancy."""
        sums = {name: np.sum([each[name] for each in facts], axis=0) for name in FACTS}
        main = _largest_grid(works)
        resident, waves = num_resident(main, self.device), num_waves(main, self.device)
        waves = np.where(np.isfinite(waves), waves, main.num_programs)
        flops = np.maximum(sums["flops"], 1)
        one = np.ones(len(stages))
        slots = np.maximum(waves * self.device.num_sms * resident, 1)
        return {
            "num_kernels": one * len(works),
            "num_programs": main.num_programs,
            "num_threads": main.num_threads,
            "num_stages": stages.astype(np.float64),
            "num_waves": waves,
            "wave_fill": np.minimum(main.num_programs / slots, 1),
            "num_resident": resident,
            "occupancy": resident * main.num_threads / self.device.max_threads_per_sm,
            "num_registers": main.num_registers,
            "shared_bytes": main.shared_bytes,
            "flops": sums["flops"],
            "matrix_share": sums["matrix_flops"] / flops,
            "l2_bytes": sums["l2_bytes"],
            "memory_bytes": sums["memory_bytes"],
            "l2_intensity": flops / sums["l2_bytes"],
            "intensity": flops / sums["memory_bytes"],
            "num_steps": sums["steps"],
            "sector_waste": sums["l2_bytes"] / sums["asked_bytes"],
            "device_flops": one * self.device.peak(_multiplied(self.space.target)),
            "device_bandwidth": one * self.device.memory_bytes_per_s,
            "device_sms": one * self.device.num_sms,
        }


def with_resources(work: KernelWork, compiled: Sequence[Resources]) -> KernelWork:
    """The work of N kernels with what the compiler found of each."""
    registers = [one.num_registers + one.spilled_bytes / _REGISTER_BYTES for one in compiled]
    shared = [float(one.shared_bytes) for one in compiled]
    return replace(work, num_registers=np.array(registers), shared_bytes=np.array(shared))


def _multiplied(target: GpuTarget) -> str:
    """The format of products, as device descriptions call it."""
    precision = target.precision
    if precision.storage != "float32":
        return precision.storage
    return "float32" if precision.dot_input == "ieee" else precision.dot_input


def _local_bytes(facts: dict[str, NDArray[np.float64]], num_warps: NDArray[np.int64]) -> NDArray[np.float64]:
    """What the warps of a program read of the operands of its products: each its rows and its columns."""
    return facts["operand_bytes"] * np.sqrt(num_warps)


def _no_work(num: int) -> KernelWork:
    """Of a kernel that there is not: an empty grid."""
    zero, one = np.zeros(num), np.ones(num)
    return KernelWork(
        *(zero.copy() if name in _ABSENT else one.copy() for name in KernelWork.__annotations__)
    )


_ABSENT = ("num_programs", "shared_bytes", "flops", "local_bytes", "l2_bytes", "memory_bytes", "num_steps")


def _largest_grid(works: Sequence[KernelWork]) -> KernelWork:
    programs = np.stack([work.num_programs for work in works])
    chosen = programs.argmax(axis=0)
    rows = np.arange(programs.shape[1])
    return KernelWork(
        *(np.stack([getattr(w, name) for w in works])[chosen, rows] for name in KernelWork.__annotations__)
    )


def _scaled(values: NDArray[np.float64], scale: Scale) -> NDArray[np.float64]:
    if scale is Scale.RAW:
        return values
    if scale is Scale.LOG_PLUS_ONE:
        return np.log2(1 + values)
    return np.log2(np.maximum(values, 1) if scale is Scale.EXCESS else values)
