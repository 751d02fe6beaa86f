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

    Where there are none, the JSON files of its folders are, as public hubs have them: named by the device,
    in a folder named by the kernel. ValueError if there are none there either, or two of one name.
    """
    inner = folder / "spaces"
    place = inner if inner.is_dir() else folder
    if not place.is_dir():
        raise ValueError(f"{folder} is not a folder with recorded spaces")
    paths = sorted(place.iterdir())
    named = [(space_name(path), path) for path in paths if path.name.endswith(SUFFIXES)]
    named = named or [pair for path in paths if path.is_dir() for pair in _of_kernel(path)]
    if not named:
        raise ValueError(f"{place} holds no recorded spaces ({', '.join(SUFFIXES)}), nor do its folders")
    found: dict[str, Path] = {}
    for name, path in named:
        if (other := found.setdefault(name, path)) != path:
            raise ValueError(
                f"{other.name} and {path.name} in {path.parent} have one name, {name}: what is before "
                "the first dot must tell recorded spaces apart"
            )
    return found


def space_name(path: Path) -> str:
    """The name of the file up to its first dot."""
    return path.name.split(".")[0]


def _of_kernel(folder: Path) -> list[tuple[str, Path]]:
    """``<kernel>__<device>`` of each file; T4 results beside a cache of a device are the same space again."""
    paths = sorted(path for path in folder.iterdir() if path.name.endswith((".json", ".json.gz")))
    stems = {space_name(path) for path in paths}
    named = []
    for path in paths:
        stem = space_name(path)
        device = stem.removesuffix("_T4").removesuffix("-results")
        is_again = device != stem and device in stems
        if not is_again and not stem.endswith("-metadata"):
            named.append((f"{folder.name}__{device}", path))
    return named


def load_recorded(path: Path, name: str | None = None) -> RecordedTable:
    """A recorded space from CSV, a cache of Kernel Tuner or T4, plain or gzipped.

    Kernel and device of a file that names none are those of ``name``, ``<kernel>__<device>``, by default
    that of the file.
    """
    kernel, _, device = (name or space_name(path)).partition("__")
    device = device or "unknown device"
    if path.name.endswith((".csv", ".csv.gz")):
        return read_csv(path, kernel, device)
    try:
        document = parse_json(read_text(path), path)
    except ValueError:
        document = {"cache": {}}  # perhaps a cache that is still open
    is_cache = isinstance(document, dict) and "cache" in document
    return read_kernel_tuner(path) if is_cache else read_t4(path, kernel, device)
