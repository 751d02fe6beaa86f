"""Recorded spaces as options name them: a folder, and patterns of the names in it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path

from costmodel.recorded_gpu import VARIABLE
from datasets.recorded_files import recorded_files


def named_files(folder: str | None, patterns: Sequence[str], group: str) -> tuple[dict[str, Path], list[str]]:
    """All files of a folder, by default that of $LOOPRANK_RECORDED, by name; and the names that match.

    ``group`` is that of the options ``folder`` and ``spaces``.

    Raises:
        ValueError: there is no folder, nothing in it, or nothing that matches.
    """
    place = folder or os.environ.get(VARIABLE)
    if not place:
        raise ValueError(f"give recorded spaces by {group}.folder or ${VARIABLE}; neither is set")
    files = recorded_files(Path(place))
    chosen = [name for name in files if any(fnmatch(name, pattern) for pattern in patterns)]
    if not chosen:
        raise ValueError(f"{group}.spaces={list(patterns)} matches none of {', '.join(files)}")
    return files, chosen
