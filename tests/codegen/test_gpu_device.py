"""Device descriptions: the shipped ones are coherent, and mistakes in a file are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from codegen.gpu_device import FOLDER, device_names, gpu_device, load_device
from codegen.gpu_target import GPU_TARGETS

FLOPS_PER_CYCLE = {
    "sm_60": {"float32": 128, "float16": 256},
    "sm_70": {"float32": 128, "float16": 1024},
    "sm_75": {"float32": 128, "float16": 1024},
    "sm_80": {"float32": 128, "tf32": 1024, "float16": 2048, "bfloat16": 2048},
    "sm_86": {"float32": 256, "tf32": 512, "float16": 1024, "bfloat16": 1024},
    "sm_90": {"float32": 256, "tf32": 2048, "float16": 4096, "bfloat16": 4096},
    "gfx90a": {"float32": 128, "float16": 1024, "bfloat16": 1024},
    "gfx942": {"float32": 256, "tf32": 1024, "float16": 2048, "bfloat16": 2048},
    "gfx1032": {"float32": 128, "float16": 256},
}
"""Of an SM, with sums of float32, by the vendors' white papers."""

HALVED = ("rtx_2080_ti", "rtx_3090")
"""GeForce boards multiply on tensor cores with sums of float32 at half the rate."""

LIMITS = {
    "sm_60": (2048, 32, 64, 48, 0),
    "sm_70": (2048, 32, 96, 96, 0),
    "sm_75": (1024, 16, 64, 64, 0),
    "sm_80": (2048, 32, 164, 163, 1),
    "sm_86": (1536, 16, 100, 99, 1),
    "sm_90": (2048, 32, 228, 227, 1),
}
"""Threads and blocks of an SM; KiB of shared memory of an SM, of a block and reserved for one.

They are those of NVIDIA's CCCL, ``cuda/experimental/__device/arch_traits.cuh``.
"""


def test_the_devices_of_targets_and_of_recorded_data_are_described() -> None:
    described = {gpu_device(name).name for name in device_names()}
    assert {target.device for target in GPU_TARGETS.values()} <= set(device_names())
    assert {"Tesla V100-PCIE-32GB", "Tesla T4", "Tesla P100-PCIE-16GB", "AMD Instinct MI250X"} <= described
    assert len(described) == len(device_names()) >= 11


@pytest.mark.parametrize("target", GPU_TARGETS.values(), ids=lambda target: target.name)
def test_a_target_has_the_architecture_of_its_device(target) -> None:  # type: ignore[no-untyped-def]
    device = gpu_device(target.device)
    assert (target.backend, target.arch, target.warp_size) == (device.backend, device.arch, device.warp_size)


@pytest.mark.parametrize("name", device_names())
def test_published_rates_are_those_of_the_units_at_the_clock(name: str) -> None:
    device = gpu_device(name)
    expected = FLOPS_PER_CYCLE[device.arch]
    assert device.peak_flops_per_s.keys() == expected.keys()
    for product, rate in device.peak_flops_per_s.items():
        each = expected[product] / (2 if name in HALVED and product != "float32" else 1)
        # The H100 and the H200 count their tensor cores at 1.83 GHz, all else at 1.98.
        clock_hz = 1.83e9 if name in ("h100", "h200") and product != "float32" else device.clock_hz
        assert rate == pytest.approx(device.num_sms * each * clock_hz, rel=0.011)


@pytest.mark.parametrize("name", [name for name in device_names() if gpu_device(name).arch in LIMITS])
def test_the_limits_of_an_sm_are_those_of_its_compute_capability(name: str) -> None:
    device = gpu_device(name)
    threads, blocks, *shared = LIMITS[device.arch]
    assert (device.max_threads_per_sm, device.max_blocks_per_sm) == (threads, blocks)
    assert [1024 * kib for kib in shared] == [
        device.shared_bytes_per_sm,
        device.shared_bytes_per_block,
        device.reserved_shared_bytes_per_block,
    ]
    assert (device.registers_per_sm, device.max_registers_per_thread) == (65536, 255)


def test_a_format_without_a_rate_has_that_of_float32() -> None:
    t4 = gpu_device("t4")
    assert t4.peak("tf32") == t4.peak("float32") < t4.peak("float16")


def test_an_unknown_device_is_refused() -> None:
    with pytest.raises(ValueError, match=r"device must be one of a100, .*, got 'a1000'"):
        gpu_device("a1000")


@pytest.mark.parametrize(
    ("line", "wrong", "message"),
    [
        ("num_sms: 108", "num_sms: 0", "num_sms must be a whole number from 1 on, got 0"),
        ("num_sms: 108", "", "missing or unknown: num_sms"),
        ("num_sms: 108", "num_sms: 108\nnum_cores: 3", "missing or unknown: num_cores"),
        ("clock_hz: 1.41e+9", "clock_hz: fast", "clock_hz must be a positive number"),
        ("  tf32:", "  tf64:", "peak_flops_per_s needs float32 and allows"),
        ("backend: cuda", "backend: metal", "backend must be cuda or hip, got 'metal'"),
        ("_per_block: 166912", "_per_block: 999999", "shared_bytes_per_block must not exceed 167936"),
        ("arch: sm_80", "arch: ''", "arch must be text, got ''"),
        ("num_sms: 108", "num_sms: [", "cannot read a device from"),
    ],
)
def test_a_mistake_in_a_description_is_named(tmp_path: Path, line: str, wrong: str, message: str) -> None:
    text = (FOLDER / "a100.yaml").read_text()
    assert line in text
    path = tmp_path / "mine.yaml"
    path.write_text(text.replace(line, wrong))
    with pytest.raises(ValueError, match=message):
        load_device(path)
