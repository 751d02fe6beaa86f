"""Measure logs of Ansor, TVM's auto_scheduler, as recorded spaces: one of each workload and target.

A line is a record: ``{"i": [[workload, target, ...], [[], steps]], "r": [costs, error, all_cost, timestamp],
"v": "v0.6"}``. Its schedule is the steps alone. What is computed stands elsewhere, in pickles, which run code
when they are loaded: so what is read here are knobs, and no loops.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import statistics
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from codegen.measure.measurement import FailureKind
from datasets.ansor_steps import ANNOTATIONS, Structure, is_annotation, is_loop, knob_names, take_apart
from datasets.recorded import RecordedRow, RecordedTable, Value, recorded_table
from datasets.recorded_json import as_number, parse_json, shown

_VERSIONS = tuple(f"v0.{minor}" for minor in range(1, 7))

_ERRORS: dict[int, FailureKind] = {
    1: "constraints",  # the steps cannot be applied
    2: "compile",
    3: "compile",
    4: "runtime",
    5: "correctness",
    6: "timeout",
    7: "timeout",
    8: "runtime",  # unknown to TVM
}

_NO_COST_S = 1e10
"""What a failure costs in a log."""

_LEAST_S, _MOST_S = 1e-15, 1e15
"""What is not between these is no time; it might become 0 or infinite in another unit."""

_NAME_LENGTH = 48
"""Letters that a file's name has of a workload or a target, beside a hash."""


@dataclass(frozen=True, slots=True)
class AnsorTrial:
    """One record's outcome; ``time_s`` is None where there is a failure, ``cost_s`` all that it took."""

    time_s: float | None
    failure: FailureKind | None
    cost_s: float


@dataclass(frozen=True)
class AnsorSpace:
    """The records of a workload on a target.

    ``sketches`` are the knobs of each sketch, ``trials`` the records of each choice: the sketch, and numbers
    of its knobs as C integers (a log may have a million records).
    """

    workload: str
    target: str
    sketches: dict[str, tuple[str, ...]] = field(default_factory=dict)
    trials: dict[tuple[str, bytes], list[AnsorTrial]] = field(default_factory=dict)

    @property
    def kernel(self) -> str:
        """The workload as half of a file's name, with a hash of all of it."""
        short = re.sub(r"\b([0-9a-f]{8})[0-9a-f]{24}\b", r"\1", self.workload)  # TenSet's begin with a hash
        return _file_name(short, self.workload)

    @property
    def device(self) -> str:
        """The target likewise: its kind, and the options that name a chip."""
        chip = re.findall(r"-(?:mcpu|model|arch)=(\S+)", self.target)
        return _file_name(" ".join([*self.target.split()[:1], *chip]), self.target)

    @property
    def num_records(self) -> int:
        """Lines of the log."""
        return sum(map(len, self.trials.values()))

    @property
    def num_failed(self) -> int:
        """Those without a time."""
        return sum(trial.failure is not None for trials in self.trials.values() for trial in trials)


def read_ansor(path: Path) -> list[AnsorSpace]:
    """What a log, plain or gzipped, holds of each workload and target, in the order in which they begin.

    Raises:
        ValueError: there are no records, or a line is cut off, of an unknown version, or none; it is named.
    """
    spaces: dict[tuple[str, str], AnsorSpace] = {}
    known: dict[Structure, tuple[str, tuple[str, ...]]] = {}
    for number, line in _lines(path):
        where = f"{path}, line {number}"
        document = parse_json(line, where)
        try:
            workload, target, steps, trial = _record(document)
            structure, choices = take_apart(steps)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
        if structure not in known:
            # The same name in all logs; with a letter before it, or it might read as a number.
            known[structure] = (f"s{_hash(structure)}", tuple(knob_names(structure)))
        sketch, knobs = known[structure]
        space = spaces.setdefault((workload, target), AnsorSpace(workload, target))
        space.sketches[sketch] = knobs
        space.trials.setdefault((sketch, choices), []).append(trial)
    if not spaces:
        raise ValueError(f"{path} holds no records")
    return list(spaces.values())


def ansor_table(space: AnsorSpace) -> RecordedTable:
    """Knobs are the sketch, and the numbers that its steps choose.

    ``split_2_0_1`` is length 1 of split 0 of stage 2, ``fuse_..`` how many loops are fused, and ``.._loop``
    the first of them, or the one that is annotated or computed at. Where a sketch has no such step, it is 0,
    a loop -1 and an annotation ``none``. A knob that never varies, or only as an earlier one does, is left
    out, so long as one stays. The time of a choice is the median of its records that succeeded.

    Raises:
        ValueError: all records are failures.
    """
    knobs, columns = _columns(space)
    kept = _telling(columns)
    names = [knobs[place] for place in kept]
    values = [_values(space, knobs[place], columns[:, place].tolist()) for place in kept]
    rows = [
        _row(dict(zip(names, chosen, strict=True)), trials)
        for chosen, trials in zip(zip(*values, strict=True), space.trials.values(), strict=True)
    ]
    return recorded_table(space.kernel, space.device, names, rows)


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines with their numbers; TVM skips those that begin with a space or ``#``."""
    opened = gzip.open if path.suffix == ".gz" else open
    number = 0
    try:
        with opened(path, "rt", encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                if line.strip() and line[0] not in "# ":
                    yield number, line
    except (EOFError, gzip.BadGzipFile, zlib.error, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is damaged or cut off after line {number}: {error}") from None


def _record(document: object) -> tuple[str, str, list[object], AnsorTrial]:
    """Workload, target, steps and outcome."""
    match document:
        case {
            "i": [[str(workload), str(target), *_], [_, list(steps)]],
            "r": [list(costs), int(error), all_cost, _],
            "v": str(version),
        }:
            if version not in _VERSIONS:
                raise ValueError(f"v must be one of {', '.join(_VERSIONS)}, got {shown(version)}")
            return workload, target, steps, _trial(costs, error, all_cost)
    raise ValueError(
        'it is no record of auto_scheduler, {"i": [[workload, target, ...], [[], steps]], '
        '"r": [costs, error, all_cost, timestamp], "v": version}'
    )


def _trial(costs: Sequence[object], error: int, all_cost: object) -> AnsorTrial:
    cost_s = as_number(all_cost, "all_cost")
    if not 0 <= cost_s <= _MOST_S:
        raise ValueError(f"all_cost must be from 0 to {_MOST_S:g} s, got {cost_s}")
    if error:
        if error not in _ERRORS:
            raise ValueError(f"an error must be a number from 0 to {max(_ERRORS)}, got {shown(error)}")
        return AnsorTrial(None, _ERRORS[error], cost_s)
    times_s = [as_number(each, "a cost") for each in costs]
    if not times_s or not all(_LEAST_S <= time_s <= _MOST_S for time_s in times_s):
        raise ValueError(
            f"without an error costs must be from {_LEAST_S:g} to {_MOST_S:g} s, got {times_s[:3]}"
        )
    if max(times_s) >= _NO_COST_S:
        return AnsorTrial(None, "runtime", cost_s)
    return AnsorTrial(statistics.median(times_s), None, cost_s)


def _columns(space: AnsorSpace) -> tuple[list[str], NDArray[np.intc]]:
    """Knobs, and a row of their numbers for each choice; the first is the place of the sketch."""
    knobs = list(dict.fromkeys(["sketch", *(name for names in space.sketches.values() for name in names)]))
    place_of = {name: place for place, name in enumerate(knobs)}
    absent = np.array([-1 if is_loop(name) else 0 for name in knobs], np.intc)
    columns = np.tile(absent, (len(space.trials), 1))
    sketch_of = np.array([sketch for sketch, _ in space.trials])
    chosen = [choices for _, choices in space.trials]
    for number, (sketch, names) in enumerate(space.sketches.items()):
        rows = np.flatnonzero(sketch_of == sketch)
        numbers = np.frombuffer(b"".join(chosen[row] for row in rows), np.intc)
        places = np.array([place_of[name] for name in names], np.intp)
        columns[rows[:, None], places] = numbers.reshape(len(rows), len(names))
        columns[rows, 0] = number
    return knobs, columns


def _telling(columns: NDArray[np.intc]) -> list[int]:
    """Columns that tell rows apart, and others than those before them do; the first if there are none."""
    kept: dict[bytes, int] = {}
    for place, column in enumerate(columns.T):
        _, first, inverse = np.unique(column, return_index=True, return_inverse=True)
        if len(first) > 1:
            kept.setdefault(first[inverse].tobytes(), place)
    return list(kept.values()) or [0]


def _values(space: AnsorSpace, knob: str, numbers: list[int]) -> Sequence[Value]:
    if knob == "sketch":
        sketches = list(space.sketches)
        return [sketches[number] for number in numbers]
    return [ANNOTATIONS[number] for number in numbers] if is_annotation(knob) else numbers


def _row(configuration: dict[str, Value], trials: Sequence[AnsorTrial]) -> RecordedRow:
    """Failures count only where there is nothing else."""
    counted = [trial for trial in trials if trial.failure is None] or trials
    times_s = [trial.time_s for trial in counted if trial.time_s is not None]
    return RecordedRow(
        configuration=configuration,
        time_s=statistics.median(times_s) if times_s else None,
        failure=counted[0].failure,
        benchmark_s=statistics.median(trial.cost_s for trial in counted),
    )


def _file_name(words: str, whole: str) -> str:
    """Letters, digits and hyphens, with single underscores, as two part a kernel from its device."""
    safe = re.sub(r"[^A-Za-z0-9-]+", "_", words)[:_NAME_LENGTH].strip("_-")
    return f"{safe}_{_hash(whole)}".lstrip("_")


def _hash(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:10]
