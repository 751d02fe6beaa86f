"""From a task to a tuned, verified kernel: the parts of ``tune.py`` that other scripts share."""

from __future__ import annotations

import csv
import io
import json
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from codegen.measure.jobs import MeasureJob
from codegen.measure.measurement import Measurement
from codegen.measure.pool import Finalist, MeasurePool
from codegen.ops import Operator, operator_parameters
from codegen.schedule.candidates import Candidates
from codegen.schedule.space import Space
from scripts.outputs import write_text
from search.tuner import Trial, TuneResult

HISTORY_COLUMNS = ("trial", "elapsed_s", "latency_s", "best_latency_s", "status", "arm")


@dataclass(frozen=True)
class PoolMeasurer:
    """A measuring pool as the search sees it: candidates of one task in, measurements out."""

    pool: MeasurePool
    operator: Operator
    space: Space
    seed: int = 0

    def job(self, candidates: Candidates, row: int) -> MeasureJob:
        """What the pool needs to know of one candidate."""
        parameters = operator_parameters(self.operator)
        named = self.space.named(candidates, row)
        return MeasureJob(self.operator.operator_name, parameters, self.space.target, named, self.seed)

    def measure(self, candidates: Candidates) -> Iterator[Measurement]:
        for row in range(len(candidates)):
            yield self.pool.measure_one(self.job(candidates, row))

    def measure_finalists(self, result: TuneResult, num: int) -> list[Finalist]:
        """The ``num`` fastest candidates again, in turn, fastest first; those that failed now come last."""
        succeeded = [row for row, trial in enumerate(result.history) if trial.latency_s is not None]
        fastest = sorted(succeeded, key=lambda row: result.measurements[row].latency_s)[:num]
        finalists = self.pool.remeasure_interleaved([self.job(result.candidates, row) for row in fastest])
        return sorted(finalists, key=lambda f: f.summary.median_s if f.summary else float("inf"))


def reproduce_command(job: MeasureJob) -> str:
    """The command line that measures one candidate again on this machine."""
    knobs = ",".join(f"{name}:{value}" for name, value in job.candidate["knobs"].items())
    overrides = [
        f"task={job.operator}",
        *(f"task.{key}={_hydra_value(value)}" for key, value in job.parameters.items()),
        f"target.num_threads={job.target.num_threads}",
        f"target.vector_width={32 * job.target.vector_lanes}",
        f"sketch={job.candidate['sketch']}",
        f"knobs={{{knobs}}}",
        f"seed={job.seed}",
    ]
    return shlex.join(["python", "scripts/measure.py", *overrides])


def write_history(path: Path, history: Sequence[Trial]) -> None:
    """One row per trial; a latency is empty where there is none."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HISTORY_COLUMNS)
    for trial in history:
        row = (getattr(trial, column) for column in HISTORY_COLUMNS)
        writer.writerow("" if value is None else value for value in row)
    write_text(path, text.getvalue())


def _hydra_value(value: object) -> str:
    return json.dumps(value, separators=(",", ":")).replace('"', "")
