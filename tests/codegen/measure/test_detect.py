from __future__ import annotations

from pathlib import Path

import pytest

from codegen.measure.cores import ControlGroups, usable_cores
from codegen.measure.detect import HostCpu, detect_target, llvm_feature_text, read_caches, read_host_cpu

AVX2 = {"avx2": True, "fma": True, "sse2": True, "avx512f": False, "avx512bw": False, "avx512vl": False}
AVX512 = AVX2 | dict.fromkeys(("avx512f", "avx512bw", "avx512vl", "avx512dq", "avx512fp16", "avx10.1"), True)


def host(features: dict[str, bool]) -> HostCpu:
    return HostCpu(model="Test CPU", llvm_cpu="x86-64", features=features)


def write_cache(folder: Path, index: int, level: int, kind: str, size: str) -> None:
    cache = folder / "cpu0" / "cache" / f"index{index}"
    cache.mkdir(parents=True)
    for name, text in (("level", str(level)), ("type", kind), ("size", size), ("coherency_line_size", "128")):
        (cache / name).write_text(text + "\n")


@pytest.fixture
def cpu_folder(tmp_path: Path) -> Path:
    write_cache(tmp_path, 0, 1, "Data", "48K")
    write_cache(tmp_path, 1, 1, "Instruction", "64K")
    write_cache(tmp_path, 2, 2, "Unified", "2048K")
    write_cache(tmp_path, 3, 3, "Unified", "32M")
    return tmp_path


def test_avx512_gives_sixteen_lanes_and_thirty_two_registers(cpu_folder: Path) -> None:
    target = detect_target(1, host=host(AVX512), cpu_folder=cpu_folder)
    assert (target.vector_lanes, target.num_vector_registers) == (16, 32)
    assert "+avx512f" in target.llvm_features.split(",")


def test_avx2_gives_eight_lanes_and_sixteen_registers(cpu_folder: Path) -> None:
    target = detect_target(1, host=host(AVX2), cpu_folder=cpu_folder)
    assert (target.vector_lanes, target.num_vector_registers) == (8, 16)


def test_asking_for_256_bits_turns_avx512_off(cpu_folder: Path) -> None:
    target = detect_target(1, 256, host=host(AVX512), cpu_folder=cpu_folder)
    assert (target.vector_lanes, target.num_vector_registers) == (8, 16)
    parts = target.llvm_features.split(",")
    assert not [part for part in parts if part.startswith(("+avx512", "+avx10"))]
    assert {"-avx512f", "-avx10.1", "+avx2", "+fma"} <= set(parts)
    assert target.fingerprint != detect_target(1, 512, host=host(AVX512), cpu_folder=cpu_folder).fingerprint


def test_a_part_of_avx512_is_not_enough(cpu_folder: Path) -> None:
    features = AVX512 | {"avx512dq": False}
    assert detect_target(1, host=host(features), cpu_folder=cpu_folder).vector_lanes == 8
    with pytest.raises(ValueError, match=r"vector_width=512 needs AVX-512, .*lacks avx512dq"):
        detect_target(1, 512, host=host(features), cpu_folder=cpu_folder)


@pytest.mark.parametrize("absent", ["avx2", "fma"])
def test_a_cpu_without_avx2_and_fma_is_refused_in_one_sentence(absent: str) -> None:
    with pytest.raises(ValueError, match=rf"\(Test CPU\) lacks {absent}; .* AVX2 and FMA"):
        detect_target(1, host=host(AVX2 | {absent: False}))


def test_caches_come_from_the_kernel(cpu_folder: Path) -> None:
    target = detect_target(1, host=host(AVX2), cpu_folder=cpu_folder)
    assert (target.l1_bytes, target.l2_bytes, target.l3_bytes) == (48 * 2**10, 2 * 2**20, 32 * 2**20)
    assert target.cache_line_bytes == 128


def test_missing_caches_are_assumed_with_a_warning(tmp_path: Path) -> None:
    with pytest.warns(RuntimeWarning, match="does not describe the L1 and L2 cache"):
        caches = read_caches(tmp_path)
    assert 2**14 <= caches.l1_bytes < caches.l2_bytes < caches.l3_bytes


def test_a_cache_described_badly_is_left_out(cpu_folder: Path) -> None:
    (cpu_folder / "cpu0" / "cache" / "index0" / "size").write_text("unknown\n")
    with pytest.warns(RuntimeWarning, match="the L1 cache"):
        assert read_caches(cpu_folder).l2_bytes == 2 * 2**20


def test_without_a_third_level_the_second_is_the_last(tmp_path: Path) -> None:
    write_cache(tmp_path, 0, 1, "Data", "32K")
    write_cache(tmp_path, 2, 2, "Unified", "512K")
    assert read_caches(tmp_path).l3_bytes == 512 * 2**10


def test_threads_are_limited_by_the_cores_of_the_process(cpu_folder: Path) -> None:
    available = usable_cores()
    assert detect_target(host=host(AVX2), cpu_folder=cpu_folder).num_threads == available
    for wrong in (0, available + 1):
        with pytest.raises(ValueError, match=f"from 1 to {available} .*got {wrong}"):
            detect_target(wrong, host=host(AVX2), cpu_folder=cpu_folder)


def test_a_container_with_one_core_of_time_gets_one_thread(cpu_folder: Path, tmp_path: Path) -> None:
    groups = ControlGroups(tmp_path, tmp_path / "membership")
    groups.membership.write_text("0::/\n")
    (tmp_path / "cpu.max").write_text("100000 100000\n")
    assert detect_target(host=host(AVX2), cpu_folder=cpu_folder, groups=groups).num_threads == 1
    with pytest.raises(ValueError, match="from 1 to 1 "):
        detect_target(2, host=host(AVX2), cpu_folder=cpu_folder, groups=groups)


def test_feature_text_does_not_depend_on_order() -> None:
    turned = dict(reversed(AVX512.items()))
    assert llvm_feature_text(turned, 512) == llvm_feature_text(AVX512, 512)


def test_an_unknown_width_is_refused() -> None:
    with pytest.raises(ValueError, match="vector_width must be auto, 512 or 256, got 128"):
        detect_target(1, 128, host=host(AVX2))  # type: ignore[arg-type]


def test_the_machine_at_hand_is_described() -> None:
    cpu = read_host_cpu()
    assert cpu.model
    assert cpu.llvm_cpu
    assert cpu.features["sse2"]
