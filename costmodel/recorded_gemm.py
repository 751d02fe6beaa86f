"""Recorded spaces of CLBlast's matrix product as feature trees: what the tree networks learn from.

Configurations of four loop trees (``codegen.clblast.gemm``), described for a GPU in a CPU's terms
(``costmodel.features.machine``): each tree's features are recorded once and replayed for all configurations.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from codegen.clblast.gemm import PARAMETERS, STAGINGS, check_configurations, gemm_loops
from codegen.gpu_device import GpuDevice, device_names, gpu_device
from codegen.ir.arithmetic import symbol
from costmodel.batching import TreeBatch
from costmodel.dataset import TaskFeatures
from costmodel.features.featurise import SketchFeatures, sketch_features
from costmodel.features.machine import gpu_machine
from datasets.recorded import RecordedTable

RECORDED_SIZE = (4096, 4096, 4096)
"""M, N and K of the recorded runs; the files do not name them."""

_KNOBS = tuple(name for name in PARAMETERS if name not in ("SA", "SB"))


def gemm_task(table: RecordedTable) -> TaskFeatures:
    """A recorded space as a task, rows in the table's order.

    Raises:
        ValueError: as ``gemm_trees``.
    """
    return TaskFeatures(
        name=f"{table.kernel} on {table.device}",
        trees=gemm_trees(table),
        latency_s=table.times_s,
        repeat_pairs=np.zeros((0, 2)),
        target_name=table.device,
    )


def gemm_trees(table: RecordedTable, size: tuple[int, int, int] = RECORDED_SIZE) -> TreeBatch:
    """Features of all configurations on the device of the table, in its order; every value is finite.

    Raises:
        ValueError: as ``check_gemm``.
    """
    values, device = check_gemm(table, size), recorded_device(table)
    staging = np.stack([values["SA"], values["SB"]], axis=1)
    groups = []
    for pair in STAGINGS:
        rows = np.flatnonzero((staging == pair).all(axis=1))
        if len(rows):
            mine = {name: values[name][rows] for name in _KNOBS}
            groups.append(_sketch(pair, size, device).evaluate(mine, rows))
    return TreeBatch(tuple(groups))


def check_gemm(
    table: RecordedTable, size: tuple[int, int, int] = RECORDED_SIZE
) -> Mapping[str, NDArray[np.int64]]:
    """The 14 parameters of all configurations, shape (N,) each.

    Raises:
        ValueError: the space has other knobs than CLBlast's matrix product, its device is not described in
            ``codegen/devices``, or a configuration breaks the kernel's rules.
    """
    values = _parameters(table)
    recorded_device(table)
    check_configurations(values, size)
    return values


def recorded_device(table: RecordedTable) -> GpuDevice:
    """The description of the device that a table was recorded on, whatever the case of its name."""
    known = {name: name for name in device_names()}
    known |= {gpu_device(name).name.lower(): name for name in known}
    wanted = table.device.lower()
    if wanted not in known:
        raise ValueError(
            f"the device {table.device} of {table.kernel} is not described in codegen/devices, which has "
            f"{', '.join(device_names())}"
        )
    return gpu_device(known[wanted])


def _parameters(table: RecordedTable) -> Mapping[str, NDArray[np.int64]]:
    """PRECISION is no parameter of the loops, but must be 32 bits if it is there."""
    others = set(table.knobs) - {"PRECISION"}
    columns = dict(zip(table.knobs, zip(table.values, table.positions.T, strict=True), strict=True))
    is_float = "PRECISION" not in columns or columns["PRECISION"][0] == (32,)
    if others != set(PARAMETERS) or not is_float:
        raise ValueError(
            "only CLBlast's matrix product in 32 bits has a loop AST, whose parameters are "
            f"{', '.join(PARAMETERS)}; {table.kernel} on {table.device} has {', '.join(table.knobs)}"
        )
    return {name: np.array(columns[name][0], np.int64)[columns[name][1]] for name in PARAMETERS}


def _sketch(staging: tuple[int, int], size: tuple[int, int, int], device: GpuDevice) -> SketchFeatures:
    program = gemm_loops({name: symbol(name) for name in _KNOBS}, size, staging)
    return sketch_features(program, _KNOBS, gpu_machine(device))
