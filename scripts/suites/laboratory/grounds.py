"""The recorded spaces that the laboratory searches, each with what a pretrained search may learn from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from datasets.recorded import RecordedTable
from datasets.recorded_files import load_recorded
from scripts.options.recorded import named_files
from scripts.running.display import say
from scripts.suites.laboratory.comparison import LaboratoryConfig
from scripts.suites.laboratory.contenders import Ground
from scripts.suites.laboratory.jobs import needs_sources
from search.scoring import FIRST_TRIAL, tells_searches_apart


def open_grounds(config: LaboratoryConfig) -> list[Ground]:
    """The chosen spaces with their sources; ValueError if there are none, or one cannot be read.

    A file that is not chosen is left out, and named, if it cannot be read.
    """
    files, chosen = named_files(config.folder, config.spaces, "laboratory")
    if config.source is not None and config.source not in files:
        raise ValueError(f"laboratory.source must be one of {', '.join(files)}, got {config.source}")
    opened = {name: load_recorded(files[name], name) for name in chosen}
    told = _large_enough(opened, config)
    tables = dict(opened)
    if config.source_curve or any(map(needs_sources, config.searches)):
        if config.source is None:
            tables |= _readable(files, (name for name in files if name not in opened))
        else:
            tables[config.source] = load_recorded(files[config.source], config.source)
            _check_shared_knobs(tables, told, config.source)
    return [
        Ground(name, tables[name], _sources(name, tables, config.source), config.num_source_records)
        for name in told
    ]


def _large_enough(opened: Mapping[str, RecordedTable], config: LaboratoryConfig) -> list[str]:
    """Names of spaces that tell searches apart; others are named."""
    small = [name for name, table in opened.items() if not tells_searches_apart(table.times_s)]
    for name in small:
        say(f"{name} is left out: with {len(opened[name])} configurations all searches find its best at once")
    if len(small) == len(opened):
        raise ValueError(
            f"laboratory.spaces={config.spaces}: {', '.join(small)} too small, random search has the optimum "
            f"by trial {FIRST_TRIAL}, where scores begin"
        )
    return [name for name in opened if name not in small]


def _readable(files: Mapping[str, Path], names: Iterable[str]) -> dict[str, RecordedTable]:
    """Possible sources; nobody asked for one of them in particular."""
    found = {}
    for name in names:
        try:
            found[name] = load_recorded(files[name], name)
        except (ValueError, OSError) as error:
            say(f"{files[name].name} is no source of pretraining, as it cannot be read: {error}")
    return found


def _check_shared_knobs(tables: Mapping[str, RecordedTable], chosen: Iterable[str], source: str) -> None:
    theirs = {knob.lower() for knob in tables[source].knobs}
    strange = [name for name in chosen if not theirs & {knob.lower() for knob in tables[name].knobs}]
    if strange:
        raise ValueError(
            f"laboratory.source={source} has no knob in common with {', '.join(strange)}: its knobs are "
            f"{', '.join(tables[source].knobs)}"
        )


def _sources(name: str, tables: Mapping[str, RecordedTable], source: str | None) -> tuple[RecordedTable, ...]:
    if source is not None:
        return (tables[source],) if source != name and source in tables else ()
    own = tables[name]
    return tuple(
        other
        for key, other in sorted(tables.items())  # whichever of them are searched, too
        if key != name and (other.kernel, other.knobs) == (own.kernel, own.knobs)
    )
