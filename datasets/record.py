"""One measured trial of one candidate, with everything needed to compare or repeat it."""

from __future__ import annotations

import hashlib
import json
import re
import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Literal, TypeAlias, get_args

from codegen.any_target import AnyTarget, target_from_fields
from codegen.measure.measurement import Failure, Measurement

SCHEMA_VERSION = 3
"""Of the store and of published files; a reader refuses what is newer than itself.

Version 2 added ``compiler`` and ``cache``, version 3 ``unsteadiness``; older records have the defaults.
"""

Source: TypeAlias = Literal["random", "mutated", "search", "repeat"]
SOURCES: tuple[Source, ...] = get_args(Source)

Cache: TypeAlias = Literal["warm", "flushed"]
CACHES: tuple[Cache, ...] = get_args(Cache)

JsonValue: TypeAlias = bool | int | float | str | list["JsonValue"] | dict[str, "JsonValue"] | None

_UTC = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00")


@dataclass(frozen=True, kw_only=True)
class Record:
    """A trial. The same candidate may have several: those with source ``repeat`` give the noise ceiling.

    ``parameters`` and ``knobs`` hold JSON values only (lists, not tuples). ``program_text`` may be empty.
    ``seed`` and ``trial`` name the run that planned the trial and its number within the task.
    ``measured_at`` is what ``utc_now`` returns. ``compiler`` is empty where it was not noted, and ``cache``
    says whether timed calls found in the caches what the calls before them had left there.
    """

    task: str
    operator: str
    parameters: Mapping[str, JsonValue]
    program_hash: str
    target: AnyTarget
    sketch: str
    knobs: Mapping[str, int]
    measurement: Measurement
    source: Source
    seed: int
    measured_at: str
    code_version: str
    program_text: str = ""
    trial: int = 0
    compiler: str = ""
    cache: Cache = "warm"

    def __post_init__(self) -> None:
        if self.source not in SOURCES:
            raise ValueError(f"source must be one of {SOURCES}, got {self.source!r}")
        if self.cache not in CACHES:
            raise ValueError(f"cache must be one of {CACHES}, got {self.cache!r}")
        if not _UTC.fullmatch(self.measured_at):
            raise ValueError(f"measured_at must be UTC like {utc_now()}, got {self.measured_at!r}")
        if any(type(value) is not int for value in self.knobs.values()):
            raise ValueError(f"knob values must be plain ints, got {dict(self.knobs)}")

    @property
    def times_s(self) -> tuple[float, ...]:
        """Seconds of each timed repeat; empty for a failure."""
        return self.measurement.times_s

    @property
    def failure(self) -> Failure | None:
        """Why there are no times."""
        return self.measurement.failure

    @property
    def latency_s(self) -> float:
        """Median of the times; ValueError for a failure."""
        return self.measurement.latency_s

    @property
    def candidate_key(self) -> str:
        """Equal for trials of the same candidate of one program on one target."""
        return candidate_key(self.sketch, self.knobs)

    @property
    def digest(self) -> str:
        """32 hex digits that tell trials apart, wherever they are stored.

        Times enter as float32, so that a published copy of a record has the digest of the original.
        """
        failure = self.failure
        identity = [
            self.task,
            self.program_hash,
            fingerprint(self.target),
            self.candidate_key,
            struct.pack(f"<{len(self.times_s)}f", *self.times_s).hex(),
            failure.kind if failure else "",
            self.source,
            self.seed,
            self.trial,
            self.measured_at,
        ]
        if (self.compiler, self.cache) != ("", "warm"):  # or records of version 1 would change their digests
            identity += [self.compiler, self.cache]
        return hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:32]


def utc_now() -> str:
    """The time in the form of ``Record.measured_at``, such as 2025-01-31T12:00:00.000000+00:00."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def candidate_key(sketch: str, knobs: Mapping[str, int]) -> str:
    """A candidate as text; the order of the knobs does not matter.

    >>> candidate_key("tiled", {"tile_m": 8, "tile_k": 4})
    'tiled {"tile_k":4,"tile_m":8}'
    """
    return f"{sketch} {canonical_json(knobs)}"


def canonical_json(value: Mapping[str, JsonValue] | Mapping[str, int]) -> str:
    """Equal text for equal mappings."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def text_hash(program_text: str) -> str:
    """The structural hash of a program from its text (``codegen.ir.expression.Program.hash``)."""
    return hashlib.sha256(program_text.split("\n", 1)[-1].encode()).hexdigest()[:16]


@lru_cache(maxsize=256)
def fingerprint(target: AnyTarget) -> str:
    """``target.fingerprint``, hashed once per target and not once per record."""
    return target.fingerprint


def target_to_json(target: AnyTarget) -> str:
    """Every field, as canonical text."""
    return canonical_json(asdict(target))


def target_from_json(text: str) -> AnyTarget:
    """The inverse of ``target_to_json``; ValueError for anything else."""
    try:
        return target_from_fields(json.loads(text))
    except (TypeError, KeyError) as error:
        raise ValueError(f"not the description of a target: {text!r} ({error})") from None
