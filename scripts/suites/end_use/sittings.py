"""Schedules of several runs timed again side by side, in sittings that lie apart in time.

Runs of a comparison take the better part of an hour, in which a machine's speed changes; what a run measured
tells how the search went on, not how its finds compare with those of another run. One sitting does not tell
that either: on a shared machine the cores are at times near each other and at times far, and each kernel is
slower by its own factor then (``codegen/measure/steadiness.py``). So there are several, each of a few rounds,
between which the other workloads have theirs, and those count in which the cores were near.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from codegen.measure.config import MeasureConfig
from codegen.measure.exchange import ExchangeMeter
from codegen.measure.pool import MeasurePool
from codegen.ops import Operator
from codegen.schedule.space import Space
from codegen.target import Target
from scripts.running.display import progress
from scripts.running.outputs import write_text
from scripts.tuning.measured_search import job_of, reproduce_command

NEAR = 3.0
"""How many times the usual exchange is still one of near cores. On an EPYC of Zen 5 it took 23 to 71 ns,
usually 41, with near cores and 160 to 200 with far ones, on one of Zen 4 38 to 51 and 156 to 166."""

USUAL_QUANTILE = 0.2
"""Of all exchanges seen: where cores are near in a fifth of the time or more, that is usual."""

MAX_WAIT_S = 20.0
WAIT_STEP_S = 0.5
"""For cores that are near, before a sitting."""

MAX_FACTOR = 2
"""There are at most so many times the sittings that are wanted; a machine may stay as it is for hours."""


@dataclass(frozen=True)
class Sitting:
    """Seconds by candidate, taken in turn in one run; what failed is left out.

    ``exchange_s`` is how far apart the cores were before, when each of the rounds was about to begin or to
    wait (where trials look at the machine, and there are two cores), and after; None where ``ExchangeMeter``
    had no answer.
    """

    latencies_s: Mapping[str, float]
    exchange_s: tuple[float | None, ...]

    @property
    def longest_exchange_s(self) -> float:
        """Infinite where there was none to be seen."""
        return max(float("inf") if s is None else s for s in self.exchange_s)


@dataclass(frozen=True)
class Contest:
    """Candidates of one workload by name, timed ``num_rounds`` times in each sitting.

    ``folder`` keeps the sittings, in a file for each set of candidates and number of rounds.
    """

    workload: str
    operator: Operator
    space: Space[Any]
    candidates: Mapping[str, Mapping[str, Any]]
    num_rounds: int
    folder: Path

    @property
    def path(self) -> Path:
        """Of the file with the sittings."""
        facts = json.dumps([self.num_rounds, sorted(self.candidates)])
        return self.folder / f"{self.workload}_{hashlib.sha256(facts.encode()).hexdigest()[:16]}.json"


def hold_sittings(
    contests: Sequence[Contest], measure: MeasureConfig, num_sittings: int
) -> list[list[Sitting]]:
    """Have all contests sit in turn until each has so many sittings with near cores; those that count.

    One that has had ``MAX_FACTOR`` times as many makes do with what it has. What was kept of earlier calls
    counts. Near is what is so on this machine, by all sittings of all contests, which are of one target.

    Raises:
        ValueError: none of a contest's candidates could be timed.
    """
    held = [_kept(contest) for contest in contests]
    total = num_sittings * len(contests)
    meter = ExchangeMeter(contests[0].space.target)
    with MeasurePool(measure, reproduce_command) as pool, progress("sittings") as tick:
        while going_on := [
            number
            for number, missing in enumerate(_missing(held, num_sittings))
            if missing and len(held[number]) < MAX_FACTOR * num_sittings
        ]:
            for number in going_on:
                wait_for_near(meter, _usual_exchange_s(held))
                held[number].append(_sit(contests[number], pool, meter))
                _keep(contests[number], held[number])
                tick(total - sum(_missing(held, num_sittings)), total, contests[number].workload)
    usual_s = _usual_exchange_s(held)
    return [counting_sittings(each, usual_s, num_sittings) for each in held]


def counting_sittings(sittings: Sequence[Sitting], usual_s: float, num_sittings: int) -> list[Sitting]:
    """The first with near cores or, where there are none, the nearest."""
    nearest = sorted(sittings, key=lambda sitting: sitting.longest_exchange_s)
    return (near_sittings(sittings, usual_s) or nearest)[:num_sittings]


def near_sittings(sittings: Sequence[Sitting], usual_s: float) -> list[Sitting]:
    """Those that found the cores near all the time; all, if no exchange was ever seen."""
    return [each for each in sittings if each.longest_exchange_s <= NEAR * usual_s]


def wait_for_near(meter: ExchangeMeter, usual_s: float) -> None:
    """Return when the cores are near each other, or when that has taken too long."""
    end_s = time.perf_counter() + MAX_WAIT_S
    while np.isfinite(usual_s) and time.perf_counter() < end_s:
        exchange_s = meter.exchange_s()
        if exchange_s is not None and exchange_s <= NEAR * usual_s:
            return
        time.sleep(WAIT_STEP_S)


def _sit(contest: Contest, pool: MeasurePool, meter: ExchangeMeter) -> Sitting:
    target = contest.space.target
    jobs = [job_of(contest.operator, contest.space, named, 0) for named in contest.candidates.values()]
    before_s = meter.exchange_s()
    finalists = pool.remeasure_interleaved(jobs, contest.num_rounds)
    rounds_s = _exchanges_of_rounds(pool, target, contest.num_rounds)
    after_s = meter.exchange_s()
    summaries = zip(contest.candidates, (finalist.summary for finalist in finalists), strict=True)
    latencies_s = {key: summary.median_s for key, summary in summaries if summary is not None}
    if not latencies_s:
        failures = [finalist.measurement.failure for finalist in finalists]
        why = next((failure.message for failure in failures if failure), "there is none")
        raise ValueError(f"no schedule of {contest.workload} could be timed again: {why}")
    return Sitting(latencies_s, (before_s, *rounds_s, after_s))


def _exchanges_of_rounds(pool: MeasurePool, target: Target, num_rounds: int) -> Iterator[float]:
    """The measuring process looks once a round, if it does; 0 stands for no second core."""
    return (float(exchange_s) for _, exchange_s in pool.readings(target)[-num_rounds:] if exchange_s > 0)


def _missing(held: Sequence[Sequence[Sitting]], num_sittings: int) -> list[int]:
    """How many sittings with near cores each contest lacks."""
    usual_s = _usual_exchange_s(held)
    return [max(0, num_sittings - len(near_sittings(sittings, usual_s))) for sittings in held]


def _usual_exchange_s(held: Sequence[Sequence[Sitting]]) -> float:
    """Infinite where none was seen. A quantile, as the least of many is an outlier."""
    seen = [s for sittings in held for each in sittings for s in each.exchange_s if s is not None]
    return float(np.quantile(seen, USUAL_QUANTILE)) if seen else float("inf")


def _keep(contest: Contest, sittings: Sequence[Sitting]) -> None:
    contest.folder.mkdir(parents=True, exist_ok=True)
    write_text(contest.path, json.dumps([asdict(sitting) for sitting in sittings], indent=1) + "\n")


def _kept(contest: Contest) -> list[Sitting]:
    """None of them if there is no file; ValueError if it holds something else."""
    if not contest.path.exists():
        return []
    try:
        return [
            Sitting(
                {str(key): float(seconds) for key, seconds in each["latencies_s"].items()},
                tuple(None if s is None else float(s) for s in each["exchange_s"]),
            )
            for each in json.loads(contest.path.read_text())
        ]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ValueError(f"{contest.path} holds no sittings; without it they are held again") from None
