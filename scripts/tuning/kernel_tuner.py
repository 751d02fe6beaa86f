"""Workloads tuned one after another, each winner kept as it is found: what a killed run goes on from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codegen.measure.config import MeasureConfig
from codegen.measure.pool import Finalist, MeasurePool
from codegen.ops import Operator, operator_parameters
from codegen.schedule import build_space
from codegen.target import Target, compiler_name
from scripts.learning.guide import Guide
from scripts.options.searches import SearchOption
from scripts.running.display import Ticker, progress, say
from scripts.tuning.measured_search import PoolMeasurer, reproduce_command, search_identity, search_schedules
from scripts.tuning.stored_winners import FILE, StoredWinner, read_winners, write_winners
from search.journal import open_journal
from search.trials import Trial

NUM_FINALISTS = 5


@dataclass(frozen=True)
class KernelTuner:
    """Tunes all workloads in the same way; ``folder`` gets a journal for each, and the winners.

    ``code_version`` is noted with each winner.
    """

    search: SearchOption
    guide: Guide
    measure: MeasureConfig
    target: Target
    seed: int
    folder: Path
    code_version: str

    def tune_all(
        self, workloads: Mapping[str, Operator], rivals: Mapping[str, StoredWinner]
    ) -> dict[str, StoredWinner]:
        """The winner of each; one that an earlier part of this run has found is taken as it is.

        ``rivals`` are earlier winners to improve on: each joins the finalists of its workload.
        """
        path = self.folder / FILE
        winners = read_winners(path, self.target)
        for number, (name, operator) in enumerate(workloads.items(), start=1):
            title = f"tuning {name} ({number} of {len(workloads)})"
            winners[name] = self._tune(name, operator, winners.get(name), rivals.get(name), title)
            write_winners(path, self.target, winners)
        return {name: winners[name] for name in workloads}

    def _tune(
        self,
        name: str,
        operator: Operator,
        found: StoredWinner | None,
        rival: StoredWinner | None,
        title: str,
    ) -> StoredWinner:
        space = build_space(operator.program(), self.target)
        if rival is not None and not (rival.is_of(operator) and rival.is_in(space)):
            rival = None
        with MeasurePool(self.measure, reproduce_command) as pool:
            measurer = PoolMeasurer(pool, operator, space, self.seed)
            identity = search_identity(self.search, self.guide, measurer, self.measure, self.seed)
            digest = self._search_sha256(identity, rival)
            if found is not None and found.search_sha256 == digest:
                say(f"{title}: found before")
                return found
            with progress(title) as tick:
                history, finalists = self._search(name, measurer, identity, rival, tick)
        return self._winner(operator, finalists, history, rival, digest)

    def _search(
        self,
        name: str,
        measurer: PoolMeasurer,
        identity: Mapping[str, Any],
        rival: StoredWinner | None,
        tick: Ticker,
    ) -> tuple[Sequence[Trial], list[Finalist]]:
        """The trials, and the finalists, fastest first."""

        def on_trial(trial: Trial) -> None:
            tick(trial.trial, self.search.budget().num_trials or 0)

        predictor = self.guide.predictor(measurer.space, self.seed)
        with open_journal(self.folder / "runs" / f"{name}.jsonl", identity) as journal:
            result = search_schedules(self.search, predictor, measurer, self.seed, journal, on_trial)
        more = [rival.candidate] if rival else []
        return result.history, measurer.measure_finalists(result, NUM_FINALISTS, more)

    def _search_sha256(self, identity: Mapping[str, Any], rival: StoredWinner | None) -> str:
        """Over what fixes the search, its budget and the winner it had to beat."""
        budget = self.search.budget()
        parts = [
            dict(identity),
            budget.num_trials,
            budget.max_elapsed_s,
            rival.candidate if rival else None,
        ]
        if budget.stop_gain is not None:
            parts += [budget.stop_gain, budget.gain_window]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def _winner(
        self,
        operator: Operator,
        finalists: Sequence[Finalist],
        history: Sequence[Trial],
        rival: StoredWinner | None,
        digest: str,
    ) -> StoredWinner:
        if not finalists or finalists[0].summary is None:
            raise ValueError(f"no schedule of {operator} could be measured; the journal of it says why")
        job, summary = finalists[0].job, finalists[0].summary
        return StoredWinner(
            operator=operator.operator_name,
            parameters=operator_parameters(operator),
            candidate=job.candidate,
            latency_s=summary.median_s,
            latency_low_s=summary.low_s,
            latency_high_s=summary.high_s,
            trials=len(history) + (rival.trials if rival else 0),
            search_s=history[-1].elapsed_s + (rival.search_s if rival else 0.0),
            seed=self.seed,
            search_sha256=digest,
            code_version=self.code_version,
            compiler=compiler_name(),
        )
