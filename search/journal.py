"""Every plan and every outcome on disk before the next step: what makes a tuning run resumable.

One JSON object a line: a header, then each plan followed by its outcomes. Each line reaches the disk
(fsync) before the run goes on, so a run killed at any moment has lost at most the trial in flight.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from codegen.measure.jobs import measurement_from_json, measurement_to_json
from codegen.measure.measurement import Measurement
from search.arms import Plan
from search.encoding import candidates_from_json, candidates_to_json
from search.protocols import SearcherState

JOURNAL_VERSION = 2
"""Another one where the same seed gives other proposals, so that no run goes on otherwise than it began."""


@dataclass(frozen=True)
class Outcome:
    """A finished trial and the seconds of tuning at its end, counted over all resumed parts."""

    measurement: Measurement
    elapsed_s: float


@dataclass(frozen=True)
class JournaledPlan:
    """A plan, the generator (PCG64) and the searcher right after it was made, and its outcomes so far."""

    plan: Plan
    generator: dict[str, Any]
    searcher: SearcherState
    outcomes: list[Outcome] = field(default_factory=list)


@dataclass(frozen=True)
class JournalContent:
    """What a journal said when it was read; ``identity`` is that of its run, as of ``open_journal``."""

    path: Path
    identity: Mapping[str, Any]
    plans: list[JournaledPlan]


class Journal:
    """An open journal. ``plans`` is what it holds; appending keeps list and file alike.

    Use as a context manager or call ``close``. A second process that opens the same file is refused.
    """

    def __init__(self, file: BinaryIO, plans: list[JournaledPlan]) -> None:
        self._file = file
        self.plans = plans

    def append_plan(self, entry: JournaledPlan) -> None:
        """The next plan, none of its trials run yet."""
        value = {
            "plan": len(self.plans),
            "arms": entry.plan.arms,
            "candidates": candidates_to_json(entry.plan.candidates),
            "generator": entry.generator,
            "searcher": entry.searcher,
        }
        self._write(value)
        self.plans.append(entry)

    def append_outcome(self, outcome: Outcome) -> None:
        """The next trial of the last plan."""
        entry = self.plans[-1]
        value = {
            "plan": len(self.plans) - 1,
            "trial": len(entry.outcomes),
            "elapsed_s": outcome.elapsed_s,
            "measurement": measurement_to_json(outcome.measurement),
        }
        self._write(value)
        entry.outcomes.append(outcome)

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _write(self, value: dict[str, Any]) -> None:
        self._file.write(_line(value))
        self._file.flush()
        os.fsync(self._file.fileno())


def open_journal(path: Path, identity: Mapping[str, Any]) -> Journal:
    """Start a journal, or continue the one at ``path`` if it is of the same run.

    Args:
        path: the file; its folder is made if need be.
        identity: JSON values that fix the sequence of proposals, by name: space, seed, configuration.

    Raises:
        ValueError: ``path`` is of another run (names what differs, with both values), of another
            version, no journal, damaged before its last line, or in use. The file stays as it was.
    """
    wanted = json.loads(json.dumps(identity))
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.stat().st_size == 0:
        _start(path, wanted)
    file = path.open("r+b")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        lines, num_valid_bytes = _whole_lines(file.read(), path)
        _check_identity(_identity(lines[0], path), wanted, path)
        plans = _read_plans(lines[1:], path)
    except BlockingIOError:
        file.close()
        raise ValueError(f"journal {path} is in use by another run") from None
    except BaseException:
        file.close()
        raise
    file.truncate(num_valid_bytes)
    file.seek(num_valid_bytes)
    return Journal(file, plans)


def read_journal(path: Path) -> JournalContent:
    """What a journal holds by now, be its run over or going on; the file is neither locked nor changed.

    Raises:
        ValueError: ``path`` is of another version, no journal, or damaged before its last line.
    """
    lines, _ = _whole_lines(path.read_bytes(), path)
    return JournalContent(path, _identity(lines[0], path), _read_plans(lines[1:], path))


def _start(path: Path, identity: dict[str, Any]) -> None:
    """A file with its header, in one step: no crash leaves half a header."""
    draft = path.with_name(f"{path.name}.{os.getpid()}.new")
    with draft.open("wb") as file:
        file.write(_line({"journal": JOURNAL_VERSION, "identity": identity}))
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _line(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def _whole_lines(content: bytes, path: Path) -> tuple[list[dict[str, Any]], int]:
    """Parsed lines and the bytes they take; a last line that is cut short or unreadable is left out."""
    pieces = content.split(b"\n")
    lines: list[dict[str, Any]] = []
    num_bytes = 0
    for number, piece in enumerate(pieces[:-1], start=1):
        try:
            value = json.loads(piece)
        except (ValueError, RecursionError):  # of lists in lists, by the thousand
            value = None
        if not isinstance(value, dict):
            if 1 < number == len(pieces) - 1:
                break
            raise ValueError(f"journal {path} is damaged: line {number} is not a JSON object")
        lines.append(value)
        num_bytes += len(piece) + 1
    if not lines or "journal" not in lines[0]:
        raise ValueError(f"{path} is not a tuning journal: its first line is not a journal header")
    return lines, num_bytes


def _identity(header: dict[str, Any], path: Path) -> dict[str, Any]:
    if header["journal"] != JOURNAL_VERSION:
        raise ValueError(
            f"journal {path} has version {header['journal']}, this program reads version {JOURNAL_VERSION}"
        )
    found = header.get("identity")
    if not isinstance(found, dict):
        raise ValueError(f"journal {path} is damaged: its header does not say which run it is of")
    return found


def _check_identity(found: dict[str, Any], wanted: dict[str, Any], path: Path) -> None:
    differences = [
        f"{name} is {found.get(name)!r} in the journal and {wanted.get(name)!r} now"
        for name in sorted({*found, *wanted})
        if found.get(name) != wanted.get(name)
    ]
    if differences:
        raise ValueError(
            f"journal {path} belongs to another run: {'; '.join(differences)}; write to another folder, or "
            "delete the journal to start anew"
        )


def _read_plans(lines: list[dict[str, Any]], path: Path) -> list[JournaledPlan]:
    plans: list[JournaledPlan] = []
    for number, line in enumerate(lines, start=2):
        try:
            _read_line(line, plans)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise ValueError(f"journal {path} is damaged: line {number}: {error!r}") from error
    return plans


def _read_line(line: dict[str, Any], plans: list[JournaledPlan]) -> None:
    if "candidates" in line:
        plan = Plan(candidates_from_json(line["candidates"]), tuple(line["arms"]))
        if line["plan"] != len(plans) or len(plan.arms) != len(plan.candidates):
            raise ValueError(f"plan {line['plan']} is out of order or has the wrong number of arms")
        plans.append(JournaledPlan(plan, line["generator"], line["searcher"]))
        return
    entry = plans[-1]
    expected = (len(plans) - 1, len(entry.outcomes))
    if (line["plan"], line["trial"]) != expected or expected[1] >= len(entry.plan.candidates):
        raise ValueError(f"trial {line['trial']} of plan {line['plan']} is out of order")
    entry.outcomes.append(Outcome(measurement_from_json(line["measurement"]), line["elapsed_s"]))
