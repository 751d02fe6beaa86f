"""Warm start: what a run is told of earlier trials, of its own task and of others, before it begins."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from codegen.ops import Operator, make_operator
from codegen.schedule import Space, build_space
from codegen.target import Target
from costmodel.dataset import FeatureDataset, TaskFeatures
from costmodel.features.featurise import Featuriser
from datasets.connection import shown_location
from datasets.table import TaskTable
from scripts.running.outputs import Metrics
from scripts.tuning.earlier_trials import Conditions, Source, merged, read_sources
from scripts.tuning.lessons import MAX_LESSONS, Lesson, work_distance
from search.known import Known, nothing_known


@dataclass(frozen=True, eq=False)
class WarmStart:
    """What the run of one task is told.

    ``left_aside`` counts the candidates of its program that are of no use, by what is the matter with them;
    ``location`` is None if no warm start was asked for.
    """

    known: Known
    lessons: tuple[Lesson, ...] = ()
    left_aside: Mapping[str, int] = field(default_factory=dict)
    location: str | None = None

    def identity(self) -> dict[str, Any]:
        """For the journal, so that a run goes on with what it began with; empty if nothing was asked for."""
        if self.location is None:
            return {}
        digest = hashlib.sha256(self.known.candidates.keys().tobytes())
        digest.update(self.known.latencies_s.tobytes())
        digest.update(FeatureDataset(tuple(lesson.features for lesson in self.lessons)).hash.encode())
        return {"warm_start_sha256": digest.hexdigest()}

    def text(self, name: str = "this task") -> str:
        """A sentence for people; empty if no warm start was asked for."""
        if self.location is None:
            return ""
        found = [f"{_counted(len(self.known), 'trial')} of {name}"] if len(self.known) else []
        found += [f"{_counted(len(self.lessons), 'other task')} of its operator"] if self.lessons else []
        known = f"{' and '.join(found)} known from" if found else f"nothing is known of {name} in"
        reasons = ", ".join(f"{num} {reason}" for reason, num in sorted(self.left_aside.items()))
        left = f"; left aside of {name}: {reasons}" if reasons else ""
        return f"warm start: {known} {self.location}{left}"


def warm_start_metrics(*starts: WarmStart) -> Metrics:
    """How much was used, for ``metrics.json``; nothing if no warm start was asked for."""
    given = [start for start in starts if start.location is not None]
    if not given:
        return {}
    return {
        "num_known": sum(len(start.known) for start in given),
        "num_lessons": sum(len(start.lessons) for start in given),
    }


@dataclass(frozen=True, eq=False)
class Teacher:
    """Another program of which there are records."""

    operator: Operator
    flops: int
    program_hash: str
    sources: tuple[Source, ...]
    target: Target
    winograd: bool

    @cached_property
    def lesson(self) -> Lesson | None:
        """None if its candidates hold no comparison."""
        space = build_space(self.operator.program(), self.target, winograd=self.winograd)
        known = merged(space, [source.outcomes(space) for source in self.sources])
        if len(known) < 2 or known.failed.all():
            return None
        trees = Featuriser(space)(known.candidates)
        features = TaskFeatures(self.program_hash, trees, known.latencies_s, np.zeros((0, 2)))
        return Lesson(self.operator, features)


@dataclass(frozen=True, eq=False)
class Earlier:
    """All earlier trials that a run was given, of whatever tasks. It builds spaces with ``winograd``."""

    location: str
    sources: tuple[Source, ...]
    conditions: Conditions
    winograd: bool

    @cached_property
    def teachers(self) -> tuple[Teacher, ...]:
        """The programs of comparable records, but for those that this version builds otherwise.

        Journals name no operator.
        """
        by_program: dict[str, list[Source]] = {}
        for source in self.sources:
            if isinstance(source.measured, TaskTable) and not self.conditions.objection(source):
                by_program.setdefault(source.program_hash, []).append(source)
        made = (_teacher(sources, self.conditions.target, self.winograd) for sources in by_program.values())
        return tuple(teacher for teacher in made if teacher is not None)


def read_earlier(location: str, own: Path, conditions: Conditions, winograd: bool) -> Earlier:
    """What ``warm_start=<location>`` names, for a run in folder ``own``; ValueError as ``read_sources``."""
    return Earlier(shown_location(location), read_sources(location, own), conditions, winograd)


def warm_start_of(
    earlier: Earlier | None, operator: Operator, space: Space, others: Collection[str] | None
) -> WarmStart:
    """What is known of the operator's own space, and lessons of the tasks whose work is most like its own.

    Args:
        earlier: None if no warm start was asked for.
        operator: the task.
        space: of the operator's program.
        others: programs, by hash, that are to give no lessons; None for no lessons at all.
    """
    if earlier is None:
        return WarmStart(nothing_known(space))
    own, left_aside, parts = operator.program().hash, Counter[str](), []
    for source in earlier.sources:
        if source.program_hash != own:
            continue
        if objection := earlier.conditions.objection(source):
            left_aside[objection] += source.num_candidates
            continue
        parts.append(source.outcomes(space))
        left_aside["that its space lacks now"] += source.num_candidates - len(parts[-1][0])
    lessons = () if others is None else tuple(_lessons(earlier, operator, {own, *others}))
    return WarmStart(merged(space, parts), lessons, +left_aside, earlier.location)


def _lessons(earlier: Earlier, operator: Operator, excluded: Collection[str]) -> Iterator[Lesson]:
    """The nearest ``MAX_LESSONS``; no others are featurised."""
    name, flops = operator.operator_name, operator.flops
    alike = [
        teacher
        for teacher in earlier.teachers
        if teacher.operator.operator_name == name and teacher.program_hash not in excluded
    ]
    alike.sort(key=lambda teacher: work_distance(teacher.flops, flops))
    return islice((each.lesson for each in alike if each.lesson is not None), MAX_LESSONS)


def _teacher(sources: Sequence[Source], target: Target, winograd: bool) -> Teacher | None:
    table = sources[0].measured
    assert isinstance(table, TaskTable)
    try:
        operator = make_operator(table.operator, table.parameters)
    except ValueError:
        return None
    program = operator.program()
    if program.hash != table.program_hash:
        return None
    return Teacher(operator, program.flops, program.hash, tuple(sources), target, winograd)


def _counted(num: int, noun: str) -> str:
    return f"{num} {noun}" if num == 1 else f"{num} {noun}s"
