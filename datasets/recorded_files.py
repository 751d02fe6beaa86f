"""Which recorded spaces there are, and reading one whatever its format."""

from __future__ import annotations

from pathlib import Path

from datasets.kernel_tuner import read_kernel_tuner
from datasets.recorded import RecordedTable, read_csv, read_text
from datasets.recorded_json import parse_json
from datasets.t4_tables import read_t4

SUFFIXES = (".csv", ".csv.gz", ".json", ".json.gz")


def recorded_files(folder: Path) -> dict[str, Path]:
    """The recorded spaces of a folder, or of its folder ``spaces``, by name.

    ValueError if there are none, or two of one name.
    """
    inner = folder / "spaces"
    place = inner if inner.is_dir() else folder
    if not place.is_dir():
        raise ValueError(f"{folder} is not a folder with recorded spaces")
    paths = sorted(path for path in place.iterdir() if path.name.endswith(SUFFIXES))
    if not paths:
        raise ValueError(f"{place} holds no recorded spaces ({', '.join(SUFFIXES)})")
    found: dict[str, Path] = {}
    for path in paths:
        if (other := found.setdefault(space_name(path), path)) != path:
            raise ValueError(
                f"{other.name} and {path.name} in {place} have one name, {space_name(path)}: what is before "
                "the first dot must tell recorded spaces apart"
            )
    return found


def space_name(path: Path) -> str:
    """The name of the file up to its first dot."""
    return path.name.split(".")[0]


def load_recorded(path: Path) -> RecordedTable:
    """A recorded space from CSV, a cache of Kernel Tuner or T4, plain or gzipped.

    CSV files hold no names; theirs is ``<kernel>__<device>.csv.gz``.
    """
    if path.name.endswith((".csv", ".csv.gz")):
        kernel, _, device = space_name(path).partition("__")
        return read_csv(path, kernel, device or "unknown device")
    try:
        document = parse_json(read_text(path), path)
    except ValueError:
        document = {"cache": {}}  # perhaps a cache that is still open
    is_cache = isinstance(document, dict) and "cache" in document
    return read_kernel_tuner(path) if is_cache else read_t4(path)
