"""Schedules of several runs timed again side by side, in sittings that lie apart in time.

Runs of a comparison take the better part of an hour, in which a machine's speed changes; what a run measured
tells how the search went on, not how its finds compare with those of another run. One sitting does not tell
that either: on a shared machine the cores are at times near each other and at times far, and each kernel is
slower by its own factor then (``codegen/measure/steadiness.py``). So there are several, each of a few rounds,
and those count in which the cores were near.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from codegen.measure.config import MeasureConfig
from codegen.measure.exchange import ExchangeMeter
from codegen.measure.pool import MeasurePool
from codegen.ops import Operator
from codegen.schedule.space import Space
from scripts.running.display import progress
from scripts.running.outputs import write_text
from scripts.tuning.measured_search import job_of, reproduce_command

NEAR = 3.0
"""How many times the shortest exchange of all sittings is still one of near cores: on the machines seen it
takes 25 to 70 ns where they are near and 160 to 200 where they are not."""

MAX_WAIT_S = 20.0
WAIT_STEP_S = 0.5
"""For cores that are near, before a sitting."""

MAX_FACTOR = 2
"""There are at most so many times the sittings that are wanted; a machine may stay as it is for hours."""


@dataclass(frozen=True)
class Sitting:
    """Seconds by candidate (``key_of``), taken in turn in one run; what failed is left out.

    ``exchange_s`` is what ``ExchangeMeter`` said before and after; None where it had no answer.
    """

    latencies_s: Mapping[str, float]
    exchange_s: tuple[float | None, float | None]

    @property
    def longest_exchange_s(self) -> float:
        """Infinite where there was none to be seen."""
        return max(float("inf") if s is None else s for s in self.exchange_s)


@dataclass
class Contest:
    """The candidates of one workload, by ``key_of``, and the sittings that they have had.

    ``path`` keeps the sittings; what it has of the same candidates and as many rounds counts.
    """

    workload: str
    operator: Operator
    space: Space[Any]
    candidates: Mapping[str, Mapping[str, Any]]
    num_rounds: int
    path: Path
    sittings: list[Sitting] = field(init=False)

    def __post_init__(self) -> None:
        self.sittings = _read(self.path, self._identity())

    def sit(self, pool: MeasurePool, meter: ExchangeMeter) -> None:
        """Add a sitting, each time in it the median of the rounds."""
        jobs = [job_of(self.operator, self.space, named, 0) for named in self.candidates.values()]
        before_s = meter.exchange_s()
        finalists = pool.remeasure_interleaved(jobs, self.num_rounds)
        summaries = zip(self.candidates, (finalist.summary for finalist in finalists), strict=True)
        latencies_s = {key: summary.median_s for key, summary in summaries if summary is not None}
        self.sittings.append(Sitting(latencies_s, (before_s, meter.exchange_s())))
        kept = {**self._identity(), "sittings": [asdict(sitting) for sitting in self.sittings]}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_text(self.path, json.dumps(kept, indent=1) + "\n")

    def _identity(self) -> dict[str, Any]:
        return {"num_rounds": self.num_rounds, "candidates": sorted(self.candidates)}


def hold_sittings(
    contests: Sequence[Contest], measure: MeasureConfig, num_sittings: int
) -> list[list[Sitting]]:
    """Have all contests sit in turn until each has so many sittings with near cores; those that count.

    One that has had ``MAX_FACTOR`` times as many makes do with what it has: sittings with near cores or, if
    there are none, any. Near is what is so on this machine, by all sittings of all contests.
    """
    meters = [ExchangeMeter(contest.space.target) for contest in contests]
    with MeasurePool(measure, reproduce_command) as pool, progress("sittings") as tick:
        while True:
            least_s = _least_exchange_s(contests)
            counts = [len(near_sittings(contest.sittings, least_s)) for contest in contests]
            going_on = [
                number
                for number, (contest, count) in enumerate(zip(contests, counts, strict=True))
                if count < num_sittings and len(contest.sittings) < MAX_FACTOR * num_sittings
            ]
            if not going_on:
                break
            done = sum(min(count, num_sittings) for count in counts)
            for number in going_on:
                tick(done, num_sittings * len(contests), contests[number].workload)
                wait_for_near(meters[number], least_s)
                contests[number].sit(pool, meters[number])
    return [
        (near_sittings(contest.sittings, least_s) or contest.sittings)[:num_sittings] for contest in contests
    ]


def near_sittings(sittings: Sequence[Sitting], least_s: float) -> list[Sitting]:
    """Those that found the cores near before and after; all, if no exchange was ever seen."""
    return [each for each in sittings if each.longest_exchange_s <= NEAR * least_s]


def wait_for_near(meter: ExchangeMeter, least_s: float) -> None:
    """Return when the cores are near each other, or when that has taken too long."""
    end_s = time.perf_counter() + MAX_WAIT_S
    while np.isfinite(least_s) and time.perf_counter() < end_s:
        exchange_s = meter.exchange_s()
        if exchange_s is not None and exchange_s <= NEAR * least_s:
            return
        time.sleep(WAIT_STEP_S)


def key_of(candidate: Mapping[str, Any]) -> str:
    """Equal for candidates of the same sketch and knobs."""
    return json.dumps(candidate, sort_keys=True, separators=(",", ":"))


def _least_exchange_s(contests: Sequence[Contest]) -> float:
    seen = [s for contest in contests for each in contest.sittings for s in each.exchange_s if s is not None]
    return min(seen, default=float("inf"))


def _read(path: Path, wanted: Mapping[str, Any]) -> list[Sitting]:
    """None of them if there is no such file, or one of other candidates."""
    try:
        value = json.loads(path.read_text())
        if any(value[name] != wanted[name] for name in wanted):
            return []
        sittings = []
        for each in value["sittings"]:
            before_s, after_s = (None if s is None else float(s) for s in each["exchange_s"])
            latencies_s = {str(key): float(seconds) for key, seconds in each["latencies_s"].items()}
            sittings.append(Sitting(latencies_s, (before_s, after_s)))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []
    return sittings
