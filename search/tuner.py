"""The tuning loop: plan, measure, refit."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codegen.measure.gate import Gate
from codegen.measure.measurement import Measurement
from codegen.schedule.candidates import Candidates, concatenate
from search.arms import make_plan
from search.background import in_background
from search.encoding import generator_to_json
from search.journal import Journal, JournaledPlan
from search.known import Known, nothing_known
from search.protocols import Measurer, Model, Searcher, Space
from search.trials import StopReason, Trial, Trials, TuneConfig


@dataclass(frozen=True)
class TuneResult:
    """All that was measured, in order: row i of ``candidates`` has measurement i and history row i.

    ``known`` is what the run was told before.
    """

    candidates: Candidates
    measurements: tuple[Measurement, ...]
    history: tuple[Trial, ...]
    stop_reason: StopReason
    known: Known | None = None

    def fastest(self, num: int) -> Candidates:
        """The ``num`` with the lowest latencies, or all that succeeded, fastest first; known ones count."""
        candidates = self.candidates
        latencies_s = np.array([np.nan if t.latency_s is None else t.latency_s for t in self.history])
        if self.known is not None:
            candidates = concatenate([self.known.candidates, candidates])
            latencies_s = np.concatenate([self.known.latencies_s, latencies_s])
        num_succeeded = int(np.count_nonzero(~np.isnan(latencies_s)))
        return candidates[np.argsort(latencies_s, kind="stable")[: min(num, num_succeeded)]]

    @property
    def best_trial(self) -> int | None:
        """Index of the first trial with the lowest latency; None if every trial failed."""
        rows = [row for row, trial in enumerate(self.history) if trial.latency_s is not None]
        return min(rows, key=lambda row: self.measurements[row].latency_s, default=None)

    @property
    def best_latency_s(self) -> float | None:
        """Be it of a trial or known before; None if nothing has run yet."""
        if self.history:
            return self.history[-1].best_latency_s
        return self.known.best_latency_s if self.known is not None else None

    @property
    def elapsed_s(self) -> float:
        """Seconds of tuning, over all resumed parts."""
        return self.history[-1].elapsed_s if self.history else 0.0

    @property
    def planning_s(self) -> float:
        """Seconds of tuning in which nothing was measured: refits, and plans that measuring waited for."""
        return max(self.elapsed_s - sum(each.total_s for each in self.measurements), 0.0)


def tune(
    space: Space,
    searcher: Searcher,
    measurer: Measurer,
    model: Model | None,
    config: TuneConfig,
    rng: np.random.Generator,
    journal: Journal | None = None,
    on_trial: Callable[[Trial], None] | None = None,
    clock: Callable[[], float] = time.monotonic,
    known: Known | None = None,
) -> TuneResult:
    """Measure what the searcher proposes until the budget is used up.

    As ``TuningRun``, from the first plan to the last.
    """
    run = TuningRun(space, searcher, measurer, model, config, rng, journal, on_trial, clock, known=known)
    while run.step():
        pass
    return run.result()


class TuningRun:
    """One run, plan by plan, so that several may take turns.

    A model that is not fitted gets a first plan at random; it is refitted on all outcomes before each
    later plan. With a journal, a killed run goes on exactly where it stopped: what the journal holds is
    replayed (refits included, so the model arrives at the same state), not measured. ``rng`` is made anew
    from the same seed then. ``on_trial`` hears of every trial as it ends, replayed ones included. Only
    differences of ``clock``, in seconds, count, within the steps of this run; replaying costs none of the
    budget.

    ``known`` are outcomes from before: model and searcher learn them before the first plan, and no plan has
    them again. ``before_refit`` is called before each plan of a run with a model, which may learn from
    other sources there; its seconds are those of planning.

    If plans are made ahead (``PlanConfig.is_ahead``), plan k + 1 is made on another thread while plan k is
    measured, from what was known before plan k. The thread works while ``gate`` is open and stops there
    before each batch of scores, if the searcher asks a ``GatedObjective`` of the same gate.
    """

    def __init__(
        self,
        space: Space,
        searcher: Searcher,
        measurer: Measurer,
        model: Model | None,
        config: TuneConfig,
        rng: np.random.Generator,
        journal: Journal | None = None,
        on_trial: Callable[[Trial], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
        gate: Gate | None = None,
        known: Known | None = None,
        before_refit: Callable[[], None] | None = None,
    ) -> None:
        self._space, self._searcher, self._measurer, self._model = space, searcher, measurer, model
        self._config, self._rng, self._journal = config, rng, journal
        self._gate = gate or Gate()
        self._known = known if known is not None else nothing_known(space)
        self._before_refit = before_refit
        self._trials = Trials(self._known, config, clock, on_trial)
        if len(self._known):
            searcher.observe(self._known.candidates, self._known.latencies_s, self._known.failed)
        self._num_plans = self._num_observed = 0
        self._planned: JournaledPlan | None = None
        self._stop_reason: StopReason | None = None

    @property
    def history(self) -> Sequence[Trial]:
        """Every trial so far."""
        return self._trials.history

    @property
    def best_latency_s(self) -> float | None:
        """The best so far, be it of a trial or known before; None if nothing has run yet."""
        return self._trials.best_latency_s

    @property
    def num_known(self) -> int:
        """Outcomes that it was told before it began."""
        return len(self._known)

    @property
    def elapsed_s(self) -> float:
        """Seconds of this run up to the end of its last trial, over all resumed parts."""
        return self._trials.elapsed_s

    def step(self, most_trials: int | None = None, most_s: float | None = None) -> bool:
        """Carry out the next plan, of at most so many trials; False, and nothing is done, at the end.

        The first trial that ends after ``most_s`` seconds is its last; what is left is never measured.

        ValueError for ``most_trials`` if plans are made ahead: the next one is made already.
        """
        if self._stop_reason is None:
            self._stop_reason = self._trials.stop_reason()
        if self._stop_reason is not None:
            return False
        self._trials.limit(most_s)
        if not self._config.plan.is_ahead:
            is_done = self._step_in_turn(most_trials)
        elif most_trials is None:
            is_done = self._step_ahead()
        else:
            raise ValueError("plans that are made ahead cannot be limited one by one")
        self._trials.stop_clock()
        if not is_done:
            self._stop_reason = "exhausted"
        return is_done

    def result(self) -> TuneResult:
        """What was found; of a run whose last ``step`` was not False, why it stopped is none of its own."""
        trials = self._trials
        reason = self._stop_reason or "trials"
        measured = (trials.candidates, tuple(trials.measurements), tuple(trials.history))
        return TuneResult(*measured, reason, self._known)

    def outcomes(self) -> tuple[Candidates, NDArray[np.float64], NDArray[np.bool_]]:
        """All that is known of the space by now: candidates, latencies (NaN for failures) and failures."""
        return self._trials.all_outcomes()

    def _step_in_turn(self, most_trials: int | None) -> bool:
        """Refit, plan, measure; False at the end of the space."""
        entry, trials = self._journaled(self._num_plans), self._trials
        if entry is None:
            trials.start_clock()
        self._refit()
        if entry is None:
            num = trials.num_next() if most_trials is None else min(trials.num_next(), most_trials)
            entry = self._written(self._plan(num, trials.candidates))
            if entry is None:
                return False
        else:
            self._restore(entry)
        self._num_plans += 1
        trials.carry_out(entry, self._measurer, self._journal, self._is_journaled())
        self._observe()
        return True

    def _step_ahead(self) -> bool:
        """Refit, then measure the plan that was made before and make the next; False without one."""
        entry, trials = self._journaled(self._num_plans), self._trials
        if entry is None:
            trials.start_clock()
        if not self._num_plans:
            self._refit()
        if entry is not None:
            self._restore(entry)
        else:
            first = self._planned if self._num_plans else self._plan(trials.num_next(), trials.candidates)
            entry = self._written(first)
            if entry is None:
                return False
        # What the last plan found; the state of the searcher in this plan's entry is that from before.
        self._observe()
        self._refit()
        self._num_plans += 1
        num = trials.num_next(len(entry.plan.candidates))
        if num < 1 or self._is_journaled():
            trials.carry_out(entry, self._measurer, self._journal, self._is_journaled())
            return True
        known = concatenate([trials.candidates, entry.plan.candidates])
        with in_background(lambda: self._plan(num, known), self._gate) as planned:
            trials.carry_out(entry, self._measurer, self._journal, is_over=False)
        self._planned = planned.result()
        return True

    def _is_journaled(self) -> bool:
        """Whether the next plan was made before."""
        return self._journaled(self._num_plans) is not None

    def _journaled(self, number: int) -> JournaledPlan | None:
        plans = self._journal.plans if self._journal is not None else []
        return plans[number] if number < len(plans) else None

    def _restore(self, entry: JournaledPlan) -> None:
        self._rng.bit_generator.state = entry.generator
        self._searcher.restore(entry.searcher)

    def _observe(self) -> None:
        """Tell the searcher of the trials that it does not know."""
        num = len(self._trials.history)
        if num > self._num_observed:
            self._searcher.observe(*self._trials.outcomes(self._num_observed))
        self._num_observed = num

    def _refit(self) -> None:
        if self._model is None:
            return
        if self._before_refit is not None:
            self._before_refit()
        if self._trials.best_latency_s is not None:
            self._model.refit(*self._trials.all_outcomes())

    def _plan(self, num: int, measured: Candidates) -> JournaledPlan | None:
        """``num`` candidates, none measured before nor known; None at the end of the space."""
        is_informed = self._model is None or self._model.is_fitted
        taken = concatenate([self._known.candidates, measured])
        plan = make_plan(self._space, self._searcher, is_informed, self._config.plan, num, taken, self._rng)
        if len(plan.candidates) == 0:
            return None
        return JournaledPlan(plan, generator_to_json(self._rng), self._searcher.state())

    def _written(self, entry: JournaledPlan | None) -> JournaledPlan | None:
        if entry is not None and self._journal is not None:
            self._journal.append_plan(entry)
        return entry
