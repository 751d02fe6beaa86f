"""Trials of earlier runs, from their journals or from records, as outcomes in a space of today."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from codegen.schedule import Candidates, Space
from codegen.schedule.candidates import concatenate
from codegen.schedule.errors import ScheduleError
from codegen.target import Target, compiler_name
from datasets.connection import is_url, shown_location
from datasets.grouping import medians, number_rows
from datasets.record import Cache, fingerprint
from datasets.table import TaskTable, table_from_columns
from scripts.options.locations import read_columns
from scripts.tuning.measured_search import space_sha256
from search.journal import JournalContent, read_journal
from search.known import Known, nothing_known

Outcomes = tuple[Candidates, NDArray[np.float64]]
"""N candidates and their latencies in seconds, shape (N,), NaN for failures."""


@dataclass(frozen=True, eq=False)
class Source:
    """What was measured of one program under the same conditions; an empty ``compiler`` was not noted."""

    program_hash: str
    fingerprint: str
    cache: Cache
    compiler: str
    measured: JournalContent | TaskTable

    @property
    def num_candidates(self) -> int:
        """Be they in the space or not."""
        if isinstance(self.measured, TaskTable):
            return len(self.measured)
        return sum(len(entry.outcomes) for entry in self.measured.plans)

    def outcomes(self, space: Space) -> Outcomes:
        """Of the candidates that are in the space of the program; ValueError if a journal is damaged."""
        if isinstance(self.measured, TaskTable):
            return _recorded_outcomes(self.measured, space)
        return _journaled_outcomes(self.measured, space)


@dataclass(frozen=True)
class Conditions:
    """Those under which a run measures: times that were taken under others tell it nothing."""

    target: Target
    is_flushed: bool
    compiler: str = field(default_factory=compiler_name)

    def objection(self, source: Source) -> str:
        """What is other about a source, for people, or nothing; a compiler not noted is taken for ours."""
        if source.fingerprint != self.target.fingerprint:
            return "on another target"
        if (source.cache == "flushed") != self.is_flushed:
            return f"with {source.cache} caches"
        return f"compiled by {source.compiler}" if source.compiler not in ("", self.compiler) else ""


def read_sources(location: str, own: Path) -> tuple[Source, ...]:
    """All trials at ``location``: the folder of a tuning run, or a file or URL of records.

    ``own`` is the folder of the run that asks: its own journal tells it nothing.

    Raises:
        ValueError: there is nothing, or something else, or what there is is damaged; or it is ``own``.
    """
    path = Path(location)
    if not is_url(location) and path.is_dir():
        return tuple(_journal_source(read_journal(each)) for each in _journals(path, own))
    if not is_url(location) and not path.exists():
        raise ValueError(f"there is no warm_start={location}; give the folder of a tuning run, or records")
    try:
        table = table_from_columns(read_columns(location))
    except ValueError as error:
        shown = shown_location(location)
        text = f"warm_start={shown} is neither the folder of a tuning run nor a set of records: {error}"
        raise ValueError(text) from None
    return tuple(_record_source(task) for task in table.tasks)


def merged(space: Space, parts: Sequence[Outcomes]) -> Known:
    """Equal kernels become one candidate, with the median of its latencies; it failed if it always did."""
    if not parts:
        return nothing_known(space)
    candidates = space.canonical(concatenate([candidates for candidates, _ in parts]))
    latencies_s = np.concatenate([latencies_s for _, latencies_s in parts])
    groups, first = number_rows(np.column_stack([candidates.sketches, candidates.positions]))
    succeeded = ~np.isnan(latencies_s)
    median_s, _ = medians(latencies_s[succeeded], groups[succeeded], len(first))
    return Known(candidates[first], median_s)


def _journals(folder: Path, own: Path) -> list[Path]:
    """Of the run, or of all tasks of its list; that of the run that asks is left out."""
    if folder.resolve().is_relative_to(own.resolve()):
        raise ValueError(f"warm_start={folder} is the folder of this very run, which goes on without that")
    paths = [folder / "journal.jsonl", *sorted(folder.glob("*/journal.jsonl"))]
    found = [path for path in paths if path.is_file() and not path.resolve().is_relative_to(own.resolve())]
    if not found:
        raise ValueError(
            f"warm_start={folder} is not the folder of a tuning run: neither it nor a folder in it has a "
            "journal.jsonl"
        )
    return found


def _journal_source(content: JournalContent) -> Source:
    value_of = content.identity.get
    cache: Cache = "flushed" if value_of("measure.flush_cache") else "warm"
    return Source(str(value_of("program")), str(value_of("target")), cache, "", content)


def _record_source(table: TaskTable) -> Source:
    return Source(table.program_hash, fingerprint(table.target), table.cache, table.compiler, table)


def _journaled_outcomes(content: JournalContent, space: Space) -> Outcomes:
    """All, or none if the space of the run was another: a journal holds positions, and no names."""
    nothing = nothing_known(space).candidates
    if content.identity.get("space_sha256") != space_sha256(space):
        return nothing, np.zeros(0)
    parts = [entry.plan.candidates[: len(entry.outcomes)] for entry in content.plans]
    measured = [outcome.measurement for entry in content.plans for outcome in entry.outcomes]
    latencies_s = [np.nan if each.failure else each.latency_s for each in measured]
    if not all(_are_in(part, space) for part in parts):
        raise ValueError(f"journal {content.path} is damaged: it has a candidate that its space lacks")
    return concatenate([nothing, *parts]), np.array(latencies_s, dtype=np.float64)


def _are_in(candidates: Candidates, space: Space) -> bool:
    """Whether a space has all these sketches and positions of knobs; combinations are not looked at."""
    sizes, sketches = space.num_values(), candidates.sketches
    if candidates.positions.shape[1] != sizes.shape[1] or not np.isin(sketches, np.arange(len(sizes))).all():
        return False
    return bool(((candidates.positions >= 0) & (candidates.positions < sizes[sketches])).all())


def _recorded_outcomes(table: TaskTable, space: Space) -> Outcomes:
    found = [_in_space(table, row, space) for row in range(len(table))]
    latencies_s = np.where(table.is_failed, np.nan, table.latency_s)
    is_in = np.array([each is not None for each in found], dtype=np.bool_)
    candidates = [each for each in found if each is not None]
    return concatenate([nothing_known(space).candidates, *candidates]), latencies_s[is_in]


def _in_space(table: TaskTable, row: int, space: Space) -> Candidates | None:
    """One candidate; None if the space lacks it: sketches and knobs change as the project does."""
    try:
        return space.decode([table.named(row)])
    except ScheduleError:
        return None
