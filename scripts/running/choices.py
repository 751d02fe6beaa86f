"""Choices on a command line that are right for another command: told before Hydra meets them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from omegaconf import OmegaConf


def check_choices(
    configs: Path, command: str, overrides: Sequence[str], suites: Mapping[str, Sequence[str]]
) -> None:
    """Refuse a config group that the command does not have, and a suite of another command.

    Args:
        configs: folder with ``<command>.yaml`` and a folder for each group.
        command: name of the script.
        overrides: as they stand on the command line; what is not ``group=word,word`` passes.
        suites: of every command that has some, as all of them share the group ``suite``.

    Raises:
        ValueError: what is allowed, and which command has what was asked for.
    """
    own = _groups(configs / f"{command}.yaml")
    everywhere = {path.name for path in configs.iterdir() if path.is_dir()}
    for override in overrides:
        group, is_choice, names = override.partition("=")
        if not is_choice or group not in everywhere or not re.fullmatch(r"[\w,]*", names):
            continue
        if group not in own:
            raise ValueError(f"{command}.py has no {group}=...; its groups are {', '.join(own)}")
        for name in names.split(",") if group == "suite" and command in suites else ():
            _check_suite(name, command, suites)


def _check_suite(name: str, command: str, suites: Mapping[str, Sequence[str]]) -> None:
    if name not in suites[command]:
        others = [f"{other}.py" for other, names in suites.items() if name in names]
        elsewhere = f"; {' and '.join(others)} has that suite" if others else ""
        raise ValueError(f"suite must be one of {', '.join(suites[command])}, got {name}{elsewhere}")


def _groups(path: Path) -> list[str]:
    """The groups in the list of defaults, but for those that follow from a choice in another."""
    entries = getattr(OmegaConf.load(path), "defaults", [])
    names = [str(name) for entry in entries if not isinstance(entry, str) for name in entry]
    return [name for name in names if " " not in name]
