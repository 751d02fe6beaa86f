"""Public measurements of GPUs as work of kernels: library operators by shape, and a space of matrix products.

The files are those of the folder named by ``LOOPRANK_RECORDED``; its README tells columns and sources.
"""

from __future__ import annotations

import csv
import gzip
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from codegen.gpu_device import GpuDevice, device_names, gpu_device
from costmodel.encoders.gpu_roofline import KernelWork, Values

VARIABLE = "LOOPRANK_RECORDED"

OPERATORS = ("bmm", "linear", "conv", "softmax", "ln", "elementwise")
"""Library operators that were measured, one kernel for each shape."""

GEMM_DEVICES = {"rtx_2080_ti": "old_gemm__RTX_2080_Ti", "rtx_3090": "old_gemm__RTX_3090"}
"""Devices on which every configuration of CLBlast's matrix product was measured, and the files."""

_GEMM_SIZE = 4096
_WARP = 32
_FLOAT_BYTES = 4
_LIBRARY_REGISTERS = 64.0
"""Of a thread in a library's kernel, whose binary nobody has looked at."""

_LIBRARY_DEPTH = 16.0
"""Elements along the reduction that a library's matrix product loads at a time."""


@dataclass(frozen=True)
class Recorded:
    """Kernels measured on one device: their work, and seconds of shape (N,)."""

    device: GpuDevice
    work: KernelWork
    seconds: NDArray[np.float64]


def recorded_folder() -> Path | None:
    """The folder, if the variable names one; ValueError if it is not there."""
    named = os.environ.get(VARIABLE)
    if not named:
        return None
    folder = Path(named)
    if not (folder / "op_latency").is_dir():
        raise ValueError(f"{VARIABLE} must name a folder that holds op_latency, got {named}")
    return folder


def read_operator(folder: Path, operator: str) -> dict[str, Recorded]:
    """Distinct shapes of a library operator by device; a shape measured twice counts once, with the mean."""
    if operator not in OPERATORS:
        raise ValueError(f"operator must be one of {', '.join(OPERATORS)}, got {operator!r}")
    rows = _read(folder / "op_latency" / f"{operator}.csv.gz")
    known = {gpu_device(name).name: name for name in device_names()}
    result = {}
    for device in sorted(set(rows["Device"])):
        chosen = rows["Device"] == device
        part = {name: column[chosen] for name, column in rows.items()}
        work = _operator_work(operator, part, gpu_device(known[device]))
        milliseconds = part["Latency"].astype(np.float64)
        result[known[device]] = _distinct(Recorded(gpu_device(known[device]), work, milliseconds / 1e3), part)
    return result


def read_gemm(folder: Path) -> dict[str, Recorded]:
    """The space of CLBlast's matrix product by device, without configurations that failed."""
    result = {}
    for name, file in GEMM_DEVICES.items():
        rows = _read(folder / "spaces" / f"{file}.csv.gz")
        measured = rows["status"] == "ok"
        knobs = {k: v[measured].astype(np.float64) for k, v in rows.items() if k in _GEMM_KNOBS}
        seconds = rows["time_ms"][measured].astype(np.float64) / 1e3
        result[name] = Recorded(gpu_device(name), _gemm_work(knobs, gpu_device(name)), seconds)
    return result


def work_features(work: KernelWork, device: GpuDevice, estimate_s: Values) -> NDArray[np.float64]:
    """What a learned model may see of kernels and their device, logarithms, shape (N, features)."""
    columns = [np.asarray(column, dtype=np.float64) for column in vars(work).values()]
    constants = [
        device.num_sms,
        device.clock_hz,
        device.memory_bytes_per_s,
        device.l2_bytes,
        device.peak("float32"),
    ]
    waves = work.num_programs / device.num_sms
    ratios = [work.flops / np.maximum(work.memory_bytes, 1), work.flops / work.num_programs, waves]
    rows = np.broadcast_arrays(estimate_s, *columns, *ratios, *(np.float64(c) for c in constants))
    return np.log2(1e-9 + np.stack(rows, axis=1))


_GEMM_KNOBS = ("MWG", "NWG", "KWG", "MDIMC", "NDIMC", "VWM", "VWN", "SA", "SB")


def _gemm_work(knobs: Mapping[str, Values], device: GpuDevice) -> KernelWork:
    """CLBlast's kernel: a tile for each work group, operands through shared memory where SA and SB say so."""
    rows, columns, depth = knobs["MWG"], knobs["NWG"], knobs["KWG"]
    threads = knobs["MDIMC"] * knobs["NDIMC"]
    of_thread = rows / knobs["MDIMC"], columns / knobs["NDIMC"]
    programs = (_GEMM_SIZE / rows) * (_GEMM_SIZE / columns)
    warps = threads / _WARP
    # Without shared memory every warp reads what its threads need by itself, through the first cache.
    warps_of_rows = np.maximum(knobs["MDIMC"] / _WARP, 1)
    left = np.where(knobs["SA"] > 0, rows, rows * np.maximum(warps / warps_of_rows, 1))
    right = np.where(knobs["SB"] > 0, columns, columns * np.maximum(warps_of_rows, 1))
    staged = rows * knobs["SA"] + columns * knobs["SB"]
    reads = threads * (of_thread[0] / _vector_gain(knobs["VWM"]) + of_thread[1] / _vector_gain(knobs["VWN"]))
    return KernelWork(
        num_programs=programs,
        num_threads=threads,
        num_registers=24 + of_thread[0] * of_thread[1] + 2 * (of_thread[0] + of_thread[1]),
        shared_bytes=_FLOAT_BYTES * depth * staged,
        flops=np.full_like(rows, 2.0 * _GEMM_SIZE**3),
        local_bytes=programs * _GEMM_SIZE * reads * _FLOAT_BYTES / 2,
        l2_bytes=_FLOAT_BYTES * programs * _GEMM_SIZE * (left + right),
        memory_bytes=np.full_like(rows, 3.0 * _FLOAT_BYTES * _GEMM_SIZE**2),
        num_steps=_GEMM_SIZE / depth,
        num_ahead=np.ones_like(rows),
        num_updates=np.full_like(rows, _GEMM_SIZE),
        peak_flops_per_s=np.full_like(rows, device.peak("float32")),
    )


def _vector_gain(width: Values) -> Values:
    """Wide loads save instructions, not bytes: the root of the width lies between no gain and all of it."""
    return np.sqrt(width)


def _operator_work(operator: str, rows: Mapping[str, NDArray[np.str_]], device: GpuDevice) -> KernelWork:
    number = {
        name: column.astype(np.float64)
        for name, column in rows.items()
        if name not in ("OPName", "Device", "Kernel Name", "split_in_source")
    }
    programs = number["Grid x"] * number["Grid y"] * number["Grid z"]
    threads = number["Block x"] * number["Block y"] * number["Block z"]
    flops, memory, depth, results = _operator_counts(operator, number, rows["OPName"])
    side = np.sqrt(results / programs)
    is_product = depth > 1
    return KernelWork(
        num_programs=programs,
        num_threads=threads,
        num_registers=np.full_like(flops, _LIBRARY_REGISTERS),
        shared_bytes=np.zeros_like(flops),
        flops=flops,
        local_bytes=np.zeros_like(flops),
        l2_bytes=np.where(is_product, programs * depth * 2 * side * _FLOAT_BYTES, memory),
        memory_bytes=memory,
        num_steps=np.where(is_product, depth / _LIBRARY_DEPTH, 1.0),
        num_ahead=np.full_like(flops, 2.0),
        num_updates=np.ones_like(flops),
        peak_flops_per_s=np.full_like(flops, device.peak("float32")),
    )


def _operator_counts(
    operator: str, number: Mapping[str, Values], kinds: NDArray[np.str_]
) -> tuple[Values, Values, Values, Values]:
    """Flops, bytes of arguments, length of the reduction (1 for none) and number of results."""
    if operator in ("bmm", "linear"):
        batch, m, n, k = (number[name] for name in ("B", "M", "N", "K"))
        memory = _FLOAT_BYTES * batch * (m * k + k * n + m * n)
        return 2 * batch * m * n * k, memory, k, batch * m * n
    if operator == "conv":
        return _conv_counts(number)
    elements = number["B"] * number["H"]
    num_read = np.where(np.isin(kinds, ("add", "mul", "div", "pow")), 2.0, 1.0)
    flops = elements * (1.0 if operator == "elementwise" else 5.0)
    return flops, _FLOAT_BYTES * elements * (num_read + 1), np.ones_like(elements), elements


def _conv_counts(number: Mapping[str, Values]) -> tuple[Values, Values, Values, Values]:
    batch, size, kernel = number["B"], number["Input_Size"], number["Kernel_Szie"]
    source, result = number["Input_Channel"], number["Output_Channel"]
    out = np.floor((size + 2 * number["Padding"] - kernel) / number["Stride"]) + 1
    depth, results = source * kernel**2, batch * result * out**2
    memory = _FLOAT_BYTES * (batch * source * size**2 + source * result * kernel**2 + results)
    return 2 * results * depth, memory, depth, results


def _distinct(recorded: Recorded, rows: Mapping[str, NDArray[np.str_]]) -> Recorded:
    """One row per operator and shape: the first one's work, the mean of the times."""
    ignored = ("Latency", "Kernel Name", "split_in_source", "Device")
    keep = [name for name in rows if name not in ignored and not name.startswith(("Grid", "Block", "Warps"))]
    keys = np.array(["|".join(row) for row in zip(*(rows[name] for name in keep))])
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    seconds = np.bincount(inverse, recorded.seconds) / np.bincount(inverse)
    work = KernelWork(*(column[first] for column in vars(recorded.work).values()))
    return Recorded(recorded.device, work, seconds)


def _read(path: Path) -> dict[str, NDArray[np.str_]]:
    """Columns of a table by name; ValueError if it is not there."""
    if not path.is_file():
        raise ValueError(f"there is no {path}")
    with gzip.open(path, "rt", newline="") as file:
        header, *rows = csv.reader(file)
    return {name: np.array(column) for name, column in zip(header, zip(*rows, strict=True), strict=True)}
