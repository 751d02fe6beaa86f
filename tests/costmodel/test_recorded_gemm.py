"""Recorded matrix products as feature trees."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from codegen.clblast.gemm import gemm_loops
from codegen.gpu_device import gpu_device
from costmodel.features.columns import PROGRAM_COLUMNS, column_index
from costmodel.features.featurise import sketch_features
from costmodel.features.machine import gpu_machine
from costmodel.recorded_gemm import RECORDED_SIZE, gemm_task, gemm_trees, recorded_device
from costmodel.recorded_gpu import GEMM_DEVICES, VARIABLE, recorded_folder
from datasets.recorded import RecordedRow, recorded_table
from datasets.recorded_files import load_recorded, recorded_files
from tests.costmodel.gemm_space import gemm_table


def test_features_are_those_of_every_configuration_alone() -> None:
    table = gemm_table()
    trees = gemm_trees(table)
    assert [len(group) for group in trees.groups] == [128] * 4
    machine = gpu_machine(gpu_device("rtx_3090"))
    for group in trees.groups:
        assert np.isfinite(group.nodes).all()
        assert np.isfinite(group.programs).all()
        row = int(group.rows[17])
        knobs = {name: int(value) for name, value in table.row(row).configuration.items()}
        program = gemm_loops(knobs, RECORDED_SIZE, (knobs["SA"], knobs["SB"]))
        alone = sketch_features(program, (), machine).evaluate({}, np.zeros(1, np.int64))
        assert alone.parents == group.parents
        np.testing.assert_allclose(alone.nodes[0], group.nodes[17], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(alone.programs[0], group.programs[17], rtol=1e-5, atol=1e-5)


def test_a_task_keeps_the_order_and_the_failures() -> None:
    table = gemm_table()
    task = gemm_task(table)
    np.testing.assert_array_equal(task.latency_s, table.times_s)
    assert (task.labels == 0).sum() == 5
    assert task.target_name == "RTX_3090"


def test_shared_memory_is_the_workspace() -> None:
    table = gemm_table()
    knobs = [table.row(row).configuration for row in range(len(table))]
    elements = [32 * (each["MWG"] * each["SA"] + each["NWG"] * each["SB"]) for each in knobs]  # type: ignore[operator]
    column = column_index(PROGRAM_COLUMNS, "workspace_bytes")
    found = gemm_trees(table).programs[:, column]
    np.testing.assert_allclose(found, np.log2(1 + 4 * np.array(elements)), rtol=1e-5)


def test_a_device_is_found_by_either_name_and_has_its_own_features() -> None:
    assert recorded_device(gemm_table("RTX_2080_Ti")) is gpu_device("rtx_2080_ti")
    assert recorded_device(gemm_table("NVIDIA GeForce RTX 3090")) is gpu_device("rtx_3090")
    assert not np.allclose(gemm_trees(gemm_table()).programs, gemm_trees(gemm_table("A100")).programs)


def test_a_device_that_is_not_described_is_refused() -> None:
    with pytest.raises(ValueError, match="RTX_9090 of gemm is not described in codegen/devices, which has a"):
        gemm_trees(gemm_table("RTX_9090"))


def test_another_kernel_or_precision_is_refused() -> None:
    other = recorded_table("convolution", "A100", ["tile"], [RecordedRow({"tile": 2}, 1e-3)])
    with pytest.raises(ValueError, match=r"only CLBlast's matrix product .* convolution on A100 has tile"):
        gemm_trees(other)
    with pytest.raises(ValueError, match="32 bits"):
        gemm_trees(gemm_table(PRECISION=16))
    assert len(gemm_trees(gemm_table(PRECISION=32))) == 512


def test_a_configuration_that_breaks_a_rule_is_refused() -> None:
    table = gemm_table()
    column = table.knobs.index("KWI")
    values = tuple((3,) if number == column else known for number, known in enumerate(table.values))
    with pytest.raises(ValueError, match="KWG must be a multiple of KWI"):
        gemm_trees(replace(table, values=values))


@pytest.mark.parametrize("file", GEMM_DEVICES.values())
def test_recorded_kernels_with_equal_features_are_equally_fast(file: str) -> None:
    folder = recorded_folder()
    if folder is None:
        pytest.skip(f"{VARIABLE} is not set")
    task = gemm_task(load_recorded(recorded_files(folder)[file]))
    assert len(task) == 17_956
    for group in task.trees.groups:
        assert np.isfinite(group.nodes).all()
        assert np.isfinite(group.programs).all()
        rows = np.column_stack([group.nodes.reshape(len(group), -1), group.programs])
        _, kernels = np.unique(rows, axis=0, return_inverse=True)
        logs = np.log(task.latency_s[group.rows])
        apart = logs - (np.bincount(kernels, logs) / np.bincount(kernels))[kernels]
        assert np.abs(apart).max() < 0.03 < 0.1 * logs.std()
