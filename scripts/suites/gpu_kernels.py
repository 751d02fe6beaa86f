"""The suite ``gpu``: every workload tuned on the GPU of this machine, beside PyTorch there."""

from __future__ import annotations

import csv
import io
import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from codegen.gpu_target import GpuTarget
from codegen.measure.gpu_peers_torch import OURS, time_gpu_peers
from codegen.measure.peers import PeerTimes
from codegen.measure.workbench_cuda import EventClock
from codegen.ops import GPU_LARGE_WORKLOADS, Operator
from codegen.schedule import Candidates, Space, build_space
from codegen.triton.candidate import candidate_source
from codegen.triton.compile import use_compiler
from codegen.triton.limits import Limits
from codegen.triton.run import import_source
from costmodel.gpu_prior import GpuPrior
from scripts.options.gpu_target import GpuTargetConfig
from scripts.running.display import say, show_table
from scripts.running.launch import ROOT
from scripts.running.loggers import Logger
from scripts.running.outputs import code_version, write_text
from scripts.suites.gpu_standings import GpuStanding, Values, gpu_table, over_all
from scripts.suites.triton_kernels import GPU_WORKLOADS, matching_workloads
from scripts.tuning.gpu_resources import GpuProcesses
from scripts.tuning.gpu_tuning import GpuTuning
from scripts.tuning.measured_search import PoolMeasurer

ALL_WORKLOADS: dict[str, Operator] = {**GPU_WORKLOADS, **GPU_LARGE_WORKLOADS}

TRIAL_COLUMNS = ("workload", "candidate", "estimated_s", "latency_s", "status")


@dataclass(frozen=True, kw_only=True)
class GpuSuiteConfig:
    """Workloads by pattern, and what is measured of each besides its tuning.

    ``num_random`` random candidates that should fit are measured before the search, to say how the analytic
    model ranks them. ``with_compiled``: whether torch.compile takes part.
    """

    workloads: tuple[str, ...] = ("*",)
    num_random: int = 24
    with_compiled: bool = True
    num_finalists: int = 3
    target: GpuTargetConfig = field(default_factory=lambda: GpuTargetConfig(name="cuda_sm90"))

    def __post_init__(self) -> None:
        if self.num_random < 0 or self.num_finalists < 1:
            raise ValueError(
                "num_random must be at least 0 and num_finalists at least 1, got "
                f"{self.num_random} and {self.num_finalists}"
            )

    def chosen(self) -> dict[str, Operator]:
        """The workloads; ValueError if a pattern matches none."""
        return matching_workloads("gpu.workloads", self.workloads, ALL_WORKLOADS)


def gpu_metrics(config: GpuSuiteConfig, tuning: GpuTuning, folder: Path, logger: Logger) -> Values:
    """Run the suite; ``gpu.csv`` has a row for each workload, ``random_trials.csv`` for each random trial.

    A workload's folder has its journal, history and kernels; a run in the same folder goes on with them.
    """
    target = config.target.describe()
    gpu = tuning.bench.name_of_gpu(target)
    standings: list[GpuStanding] = []
    trials: list[tuple[object, ...]] = []
    with tuning.bench.processes(tuning.measure) as processes:
        for name, operator in config.chosen().items():
            workload = _Workload(name, operator, build_space(operator.program(), target), config, tuning)
            correlation, rows = workload.rank_random(processes)
            standings.append(workload.stand(gpu, processes, folder / name, logger, correlation))
            say(_sentence(standings[-1], folder / name))
            # After each workload: a run that is interrupted leaves what it has.
            trials += rows
            write_text(folder / "random_trials.csv", _csv(TRIAL_COLUMNS, trials))
            columns, table = gpu_table(standings)
            write_text(folder / "gpu.csv", _csv(columns, table))
    show_table(f"kernels on {gpu}", columns, table)
    return {**over_all(standings), "gpu": gpu}


@dataclass(frozen=True)
class _Workload:
    name: str
    operator: Operator
    space: Space[GpuTarget]
    config: GpuSuiteConfig
    tuning: GpuTuning

    def rank_random(self, processes: GpuProcesses) -> tuple[float, list[tuple[object, ...]]]:
        """Rank correlation of the analytic model over random candidates that fit, and a row for each."""
        num = self.config.num_random
        if not num:
            return math.nan, []
        drawn = self.space.sample(8 * num, np.random.default_rng([self.tuning.seed, 1]))
        fitting = np.flatnonzero(Limits(self.space).fits(drawn))[:num]
        candidates = Candidates(drawn.sketches[fitting], drawn.positions[fitting])
        estimated_s = np.exp(-GpuPrior(self.space).score(candidates).astype(np.float64))
        measurements = list(self._measurer(processes).measure(candidates))
        rows: list[tuple[object, ...]] = [
            (
                self.name,
                dict(self.space.named(candidates, row)),
                float(estimated_s[row]),
                one.latency_s if one.failure is None else "",
                one.failure.kind if one.failure else "ok",
            )
            for row, one in enumerate(measurements)
        ]
        known = [row for row, one in enumerate(measurements) if one.failure is None]
        measured_s = np.array([measurements[row].latency_s for row in known])
        if len(known) < 3 or np.ptp(measured_s) == 0:
            return math.nan, rows
        return float(spearmanr(estimated_s[known], measured_s).statistic), rows

    def stand(
        self, gpu: str, processes: GpuProcesses, folder: Path, logger: Logger, correlation: float
    ) -> GpuStanding:
        """Tune, then time the winner, if there is one, beside PyTorch in this process."""
        tuned = self.tuning.measured(self.operator, self.space, gpu, processes, folder, logger)
        return GpuStanding(
            self.name,
            self.operator,
            self.space.target,
            {} if tuned.candidate is None else self._times(tuned.candidate),
            "" if tuned.candidate is None else str(tuned.candidate["sketch"]),
            tuned.values["trials"],
            tuned.values["num_failed"],
            tuned.values["search_s"],
            correlation,
        )

    def _times(self, candidate: Mapping[str, Any]) -> dict[str, PeerTimes]:
        use_compiler()
        loops = self.space.lower_named(candidate)
        source = candidate_source(self.operator, self.space, candidate, code_version(ROOT))
        with tempfile.TemporaryDirectory() as folder:
            return time_gpu_peers(
                self.operator,
                import_source(source, folder),
                loops,
                self.space.target.precision,
                EventClock(),
                seed=self.tuning.seed,
                with_compiled=self.config.with_compiled,
            )

    def _measurer(self, processes: GpuProcesses) -> PoolMeasurer:
        return PoolMeasurer(
            processes.measuring, self.operator, self.space, self.tuning.seed, processes.compiling
        )


def _sentence(each: GpuStanding, folder: Path) -> str:
    if not each.times:
        return f"{each.name}: no schedule could be measured; {folder / 'history.csv'} says why"
    ours_s = each.times[OURS].summary.median_s
    rival = f", {each.best_s / ours_s:.2f} times as fast as {each.best_rival}" if each.best_rival else ""
    effort = f"{each.sketch}, {each.trials} trials in {each.search_s:.0f} s"
    return f"{each.name}: {1e6 * ours_s:.1f} us{rival} ({effort})"


def _csv(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue()
