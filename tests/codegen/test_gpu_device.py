"""Device descriptions: the shipped ones are coherent, and mistakes in a file are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from codegen.gpu_device import FOLDER, device_names, gpu_device, load_device
from codegen.gpu_target import GPU_TARGETS

MULTIPLIERS = {"sm_60": 64, "sm_70": 64, "sm_75": 64, "sm_80": 64, "sm_86": 128, "sm_90": 128}
"""Float32 multiply-adds an SM starts in a cycle, of CUDA's tables of throughput."""


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
def test_the_published_rate_is_that_of_the_units_at_the_clock(name: str) -> None:
    device = gpu_device(name)
    if device.arch not in MULTIPLIERS:
        pytest.skip(f"{device.arch} issues in more than one way")
    computed = 2 * device.num_sms * MULTIPLIERS[device.arch] * device.clock_hz
    assert device.peak("float32") == pytest.approx(computed, rel=0.02)


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
