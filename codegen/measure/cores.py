"""How many cores this process may use: those it may run on, and what its container is allowed of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath


@dataclass(frozen=True)
class ControlGroups:
    """Where the kernel describes limits of containers: ``membership`` names the groups of this process."""

    folder: Path = Path("/sys/fs/cgroup")
    membership: Path = Path("/proc/self/cgroup")


def usable_cores(groups: ControlGroups | None = None) -> int:
    """Cores in the affinity mask, or as many as the least quota of processor time keeps busy, rounded up.

    >>> usable_cores() >= 1
    True
    """
    quotas = _quotas(ControlGroups() if groups is None else groups)
    return min([len(os.sched_getaffinity(0)), *(max(1, -(-quota // period)) for quota, period in quotas)])


def _quotas(groups: ControlGroups) -> Iterator[tuple[int, int]]:
    """Quota and period, in microseconds, of each group around this process that has a limit."""
    for folder, is_unified in _folders(groups):
        names = ("cpu.max",) if is_unified else ("cpu.cfs_quota_us", "cpu.cfs_period_us")
        try:
            words = " ".join((folder / name).read_text() for name in names).split()
            quota, period = (int(word) for word in words)  # "max" and -1 stand for no limit
        except (OSError, ValueError):
            continue
        if quota > 0 and period > 0:
            yield quota, period


def _folders(groups: ControlGroups) -> Iterator[tuple[Path, bool]]:
    """Folders of this process's group and of all around it, and whether they are of the second version.

    A container may see the path of its group on the host, but only its own part of the tree, at the root.
    """
    try:
        lines = groups.membership.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        is_unified = not controllers
        if not is_unified and "cpu" not in controllers.split(","):
            continue
        group = PurePosixPath(path.lstrip("/"))
        roots = (groups.folder,) if is_unified else (groups.folder / "cpu", groups.folder / controllers)
        for root in roots:
            yield from ((root / part, is_unified) for part in (group, *group.parents))
