"""A container's share of the processor limits the threads, however many cores it may run on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from codegen.measure.cores import ControlGroups, usable_cores


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ControlGroups:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process_id: set(range(64)))
    return ControlGroups(tmp_path / "cgroup", tmp_path / "membership")


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n")


def test_without_control_groups_the_affinity_counts(groups: ControlGroups) -> None:
    assert usable_cores(groups) == 64


@pytest.mark.parametrize(
    ("limit", "expected"),
    [("200000 100000", 2), ("150000 100000", 2), ("50000 100000", 1), ("max 100000", 64), ("damaged", 64)],
)
def test_a_quota_of_the_second_version_is_rounded_up(
    groups: ControlGroups, limit: str, expected: int
) -> None:
    write(groups.membership, "0::/")
    write(groups.folder / "cpu.max", limit)
    assert usable_cores(groups) == expected


def test_the_least_quota_of_all_groups_around_counts(groups: ControlGroups) -> None:
    write(groups.membership, "0::/outer/inner")
    write(groups.folder / "outer" / "cpu.max", "300000 100000")
    write(groups.folder / "outer" / "inner" / "cpu.max", "1600000 100000")
    assert usable_cores(groups) == 3


@pytest.mark.parametrize(("quota", "expected"), [("400000", 4), ("-1", 64)])
@pytest.mark.parametrize("path", ["/", "/docker/0123"])
def test_a_quota_of_the_first_version(groups: ControlGroups, path: str, quota: str, expected: int) -> None:
    write(groups.membership, f"5:memory:{path}\n4:cpu,cpuacct:{path}\n0::/")
    write(groups.folder / "cpu,cpuacct" / "cpu.cfs_quota_us", quota)
    write(groups.folder / "cpu,cpuacct" / "cpu.cfs_period_us", "100000")
    assert usable_cores(groups) == expected
