"""The trials of a tuning run: budget, history, and carrying out a plan."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from codegen.measure.measurement import FailureKind, Measurement
from codegen.schedule.candidates import Candidates, concatenate
from search.arms import Arm, Plan, PlanConfig
from search.journal import Journal, JournaledPlan, Outcome
from search.known import Known
from search.protocols import Measurer

StopReason: TypeAlias = Literal["trials", "seconds", "gain", "exhausted"]


@dataclass(frozen=True, kw_only=True)
class TuneConfig:
    """Budget in trials, in seconds or both: the first that is used up ends the run.

    ``stop_gain`` ends it before a plan whose expected gain (``expected_gain``, a fraction of the best
    latency) is smaller; ``gain_window`` is how many trials back that looks.
    """

    num_trials: int | None = 128
    max_elapsed_s: float | None = None
    plan: PlanConfig = field(default_factory=PlanConfig)
    stop_gain: float | None = None
    gain_window: int = 64

    def __post_init__(self) -> None:
        if self.num_trials is None and self.max_elapsed_s is None:
            raise ValueError("num_trials and max_elapsed_s are both None; a run needs a budget")
        if self.num_trials is not None and self.num_trials < 1:
            raise ValueError(f"num_trials must be at least 1, got {self.num_trials}")
        if self.max_elapsed_s is not None and not self.max_elapsed_s > 0:
            raise ValueError(f"max_elapsed_s must be positive, got {self.max_elapsed_s}")
        if self.stop_gain is not None and not 0 <= self.stop_gain < 1:
            raise ValueError(
                f"stop_gain must be in [0, 1), a share of the best latency, got {self.stop_gain}"
            )
        if self.gain_window < 1:
            raise ValueError(f"gain_window must be at least 1, got {self.gain_window}")


@dataclass(frozen=True)
class Trial:
    """One row of the history. ``trial`` counts from 1; a latency is None where there is none.

    ``best_latency_s`` is the best so far, be it of a trial or known before the run.
    """

    trial: int
    elapsed_s: float
    latency_s: float | None
    best_latency_s: float | None
    status: Literal["ok"] | FailureKind
    arm: Arm


def expected_gain(history: Sequence[Trial], num_next: int, window: int) -> float | None:
    """Share of the best latency that the next ``num_next`` trials should save, if gains go on as they were.

    The backward difference of Ansor's task scheduler (arXiv:2006.06762 section 6), on log latency.
    None while there are no ``window`` trials since a first success.
    """
    if len(history) <= window:
        return None
    before, now = history[-window - 1].best_latency_s, history[-1].best_latency_s
    if before is None or now is None:
        return None
    return -math.expm1(-math.log(before / now) * num_next / window)


class Trials:
    """What has been measured so far, and how much of the budget that took."""

    def __init__(
        self,
        known: Known,
        config: TuneConfig,
        clock: Callable[[], float],
        on_trial: Callable[[Trial], None] | None,
    ) -> None:
        self.candidates = known.candidates[:0]
        self.measurements: list[Measurement] = []
        self.history: list[Trial] = []
        self._known = known
        self._config = config
        self._clock = clock
        self._on_trial = on_trial
        self._clock_zero_s: float | None = None
        self._stopped_s = 0.0
        self._limit_s = config.max_elapsed_s

    @property
    def elapsed_s(self) -> float:
        """Seconds of tuning up to the end of the last trial: what a replayed run has used up as well."""
        return self.history[-1].elapsed_s if self.history else 0.0

    def limit(self, most_s: float | None) -> None:
        """At most so many seconds from here on, besides the run's own limit; None takes the former back."""
        limits = [] if self._config.max_elapsed_s is None else [self._config.max_elapsed_s]
        limits += [] if most_s is None else [self.elapsed_s + most_s]
        self._limit_s = min(limits, default=None)

    def start_clock(self) -> None:
        """From here on time counts; calling again changes nothing."""
        if self._clock_zero_s is None:
            self._clock_zero_s = self._clock() - self._elapsed_s()

    def stop_clock(self) -> None:
        """Until it is started again no time counts: other runs have their turns."""
        self._stopped_s, self._clock_zero_s = self._elapsed_s(), None

    @property
    def best_latency_s(self) -> float | None:
        """The best so far; None if nothing has run yet."""
        return self.history[-1].best_latency_s if self.history else self._known.best_latency_s

    def num_next(self, num_pending: int = 0) -> int:
        """Trials of the next plan, if so many are planned already; less than 1 if none are left."""
        size, limit = self._config.plan.num_trials, self._config.num_trials
        return size if limit is None else min(size, limit - len(self.history) - num_pending)

    def outcomes(self, first: int) -> tuple[Candidates, NDArray[np.float64], NDArray[np.bool_]]:
        """Candidates, latencies (NaN for failures) and failures from trial number ``first`` on."""
        latencies_s = np.array(
            [np.nan if trial.latency_s is None else trial.latency_s for trial in self.history[first:]]
        )
        return self.candidates[first:], latencies_s, np.isnan(latencies_s)

    def all_outcomes(self) -> tuple[Candidates, NDArray[np.float64], NDArray[np.bool_]]:
        """As ``outcomes``, what was known before the run first."""
        candidates, latencies_s, _ = self.outcomes(first=0)
        latencies_s = np.concatenate([self._known.latencies_s, latencies_s])
        return concatenate([self._known.candidates, candidates]), latencies_s, np.isnan(latencies_s)

    def stop_reason(self) -> StopReason | None:
        config = self._config
        if config.num_trials is not None and len(self.history) >= config.num_trials:
            return "trials"
        if config.max_elapsed_s is not None and self.elapsed_s >= config.max_elapsed_s:
            return "seconds"
        if config.stop_gain is not None:
            gain = expected_gain(self.history, self.num_next(), config.gain_window)
            if gain is not None and gain < config.stop_gain:
                return "gain"
        return None

    def carry_out(
        self, entry: JournaledPlan, measurer: Measurer, journal: Journal | None, is_over: bool
    ) -> None:
        """Take over what the journal knows of the plan, measure the rest while there is time.

        A plan ``is_over`` if another followed it: what a limit had left of it was never measured.
        """
        plan, num_known = entry.plan, len(entry.outcomes)
        for row in range(num_known):
            self._record(plan.arms[row], entry.outcomes[row])
        num_measured = num_known
        # A plan with outcomes may be what the time limit of an earlier run cut short.
        is_over = is_over or bool(num_known and self._is_out_of_time())
        if num_known < len(plan.candidates) and not is_over:
            num_measured += self._measure(plan, num_known, measurer, journal)
        self.candidates = concatenate([self.candidates, plan.candidates[:num_measured]])

    def _measure(self, plan: Plan, first: int, measurer: Measurer, journal: Journal | None) -> int:
        """Measure the candidates of a plan from number ``first`` on; how many there was time for."""
        self.start_clock()
        num_measured = 0
        for measurement in measurer.measure(plan.candidates[first:]):
            outcome = Outcome(measurement, self._elapsed_s())
            if journal is not None:
                journal.append_outcome(outcome)
            self._record(plan.arms[first + num_measured], outcome)
            num_measured += 1
            if first + num_measured == len(plan.candidates) or self._is_out_of_time():
                return num_measured
        raise ValueError(
            f"the measurer gave {num_measured} measurements for {len(plan.candidates) - first} candidates"
        )

    def _record(self, arm: Arm, outcome: Outcome) -> None:
        measurement = outcome.measurement
        failure = measurement.failure
        latency_s = measurement.latency_s if failure is None else None
        best_latency_s = self.best_latency_s
        if latency_s is not None:
            best_latency_s = latency_s if best_latency_s is None else min(best_latency_s, latency_s)
        trial = Trial(
            trial=len(self.history) + 1,
            elapsed_s=outcome.elapsed_s,
            latency_s=latency_s,
            best_latency_s=best_latency_s,
            status="ok" if failure is None else failure.kind,
            arm=arm,
        )
        self.measurements.append(measurement)
        self.history.append(trial)
        if self._on_trial is not None:
            self._on_trial(trial)

    def _elapsed_s(self) -> float:
        if self._clock_zero_s is not None:
            return self._clock() - self._clock_zero_s
        # Replayed trials bring the seconds of an earlier part of the run.
        return max(self._stopped_s, self.elapsed_s)

    def _is_out_of_time(self) -> bool:
        # By the end of the last trial and not by the clock, or a replayed plan could go on a trial further.
        return self._limit_s is not None and self.elapsed_s >= self._limit_s
