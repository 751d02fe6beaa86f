"""Tuning for a GPU: measured where there is one, else ranked, compiled and verified, and nothing timed."""

from __future__ import annotations

import csv
import io
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from codegen.gpu_target import GpuTarget
from codegen.measure.compile_pool import Compilation, CompilePool
from codegen.measure.config import MeasureConfig
from codegen.measure.cores import usable_cores
from codegen.measure.measurement import Failure
from codegen.measure.pool import Finalist
from codegen.ops import Operator
from codegen.schedule import Candidates, Space, build_space
from codegen.triton.candidate import candidate_source
from costmodel.encoders.gpu_roofline import GpuRooflineConfig
from costmodel.gpu_blend import GpuBlend
from costmodel.gpu_prior import MIN_TRIALS, GpuPrior
from costmodel.predictor import Predictor
from scripts.learning.guide import Guide, open_trained
from scripts.options.gpu_target import GpuTargetConfig
from scripts.options.searches import SearchOption
from scripts.running.display import progress, say, show_table
from scripts.running.launch import ROOT
from scripts.running.loggers import Logger
from scripts.running.outputs import Metrics, code_version, write_text
from scripts.tuning.gpu_resources import GpuBench, GpuProcesses, interpreter_pool, resource_metrics
from scripts.tuning.measured_search import (
    PoolMeasurer,
    job_of,
    journaled_search,
    reproduce_command,
    search_identity,
)
from search.tuner import TuneResult


def require_model(search: SearchOption) -> None:
    """ValueError if GPU kernels are to be ranked by a search that asks nothing but measurements."""
    if not search.measure and not search.uses_model:
        raise ValueError("search.measure=false needs a search that asks a model: annealer or evolution")


def require_measure(search: SearchOption) -> None:
    """ValueError if a CPU is to be tuned without measuring."""
    if not search.measure:
        raise ValueError("search.measure=false is for GPU targets: a CPU is there to measure on")


def require_gpu(bench: GpuBench, target: GpuTarget) -> str:
    """The name of the GPU to measure on; ValueError if there is none of the architecture."""
    try:
        return bench.name_of_gpu(target)
    except ValueError as error:
        hint = "search.measure=false ranks, compiles and verifies kernels without one"
        raise ValueError(f"{error}; {hint}") from None


GpuModel: TypeAlias = GpuPrior | GpuBlend


@dataclass(frozen=True)
class GpuGuide:
    """The analytic model, which guides every search for a GPU, and beside it a learned one, if any."""

    config: GpuRooflineConfig = field(default_factory=GpuRooflineConfig)
    learned: Guide | None = None

    def model(self, space: Space[GpuTarget], seed: int) -> GpuModel:
        """On a space; ValueError as ``open_trained``."""
        prior = GpuPrior(space, self.config)
        if self.learned is None:
            return prior
        learned = open_trained(self.learned.option, self.learned.loss, self.learned.checkpoint)
        return GpuBlend(prior, Predictor(learned, space, seed))

    def identity(self) -> dict[str, Any]:
        """What fixes all scores, by name."""
        analytic = {"model": {"name": "gpu_roofline", "min_trials": MIN_TRIALS, **asdict(self.config)}}
        return analytic if self.learned is None else {**analytic, "learned": self.learned.identity()}


@dataclass(frozen=True)
class Written:
    """A candidate that becomes a file, and its row in the table of files."""

    candidate: Mapping[str, Any]
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class Tuned:
    """The fastest candidate, None if none could be measured, and what ``metrics.json`` says of its run."""

    candidate: Mapping[str, Any] | None
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Compiled:
    """A candidate that compiled, and its score by the model with what the compiler found."""

    candidate: Mapping[str, Any]
    score: float
    compilation: Compilation

    @property
    def rank(self) -> tuple[bool, float]:
        """Lower is better: kernels that spill come after all others."""
        return any(one.spilled_bytes for one in self.compilation.resources), -self.score


@dataclass(frozen=True)
class GpuTuning:
    """What a run for a GPU needs to know."""

    search: SearchOption
    measure: MeasureConfig
    option: GpuTargetConfig
    num_kernels: int
    seed: int
    bench: GpuBench = field(default_factory=GpuBench)
    guide: GpuGuide = field(default_factory=GpuGuide)

    def run(self, name: str, operator: Operator, folder: Path, logger: Logger) -> Metrics:
        """Search the operator's space; kernels as files in ``kernels``, best first."""
        require_model(self.search)
        start_s = time.monotonic()
        space = build_space(operator.program(), self.option.describe())
        say(f"{name} on {space.target.name}: {space.count():.3g} schedules")
        if self.search.measure:
            gpu = require_gpu(self.bench, space.target)
            with self.bench.processes(self.measure) as processes:
                tuned = self.measured(operator, space, gpu, processes, folder, logger)
            if tuned.candidate is None:
                raise ValueError("no schedule could be measured; history.csv and journal.jsonl say why")
            values = dict(tuned.values)
        else:
            values = self._ranked(operator, space, folder)
        return {**values, "task": name, "target": space.target.name, "wall_s": time.monotonic() - start_s}

    def _ranked(self, operator: Operator, space: Space[GpuTarget], folder: Path) -> dict[str, Any]:
        """The model's best that compile and are right; no time is known of any."""
        model = self.guide.model(space, self.seed)
        proposed = self._proposed(space, model)
        compiled, failures = self._compiled(operator, space, model, proposed)
        kept, wrong = self._verified(operator, space, compiled)
        failures += wrong
        if not kept:
            kinds = ", ".join(f"{failure.kind}: {failure.message}" for failure in failures[:3])
            raise ValueError(f"no schedule was compiled and right ({kinds})")
        rows = [Written(one.candidate, resource_metrics(one.compilation, space.target)) for one in kept]
        write_kernels(operator, space, rows, folder / "kernels")
        say(f"{len(kept)} kernels, compiled and right, are in {folder / 'kernels'}; none has been timed")
        counts = Counter(failure.kind for failure in failures)
        return {
            "num_proposed": len(proposed),
            "num_compiled": len(compiled),
            "num_verified": len(kept),
            "num_failed": len(failures),
            **{f"num_failed_{kind}": count for kind, count in sorted(counts.items())},
            "sketch": str(kept[0].candidate["sketch"]),
            **rows[0].facts,
        }

    def _proposed(self, space: Space[GpuTarget], model: GpuModel) -> Candidates:
        """What the search would try first, as many as it has trials, best first."""
        none = space.sample(0, np.random.default_rng(0)).keys()
        num_trials = self.search.budget().num_trials or 0
        found = self.search.searcher(space, model).propose(num_trials, none, np.random.default_rng(self.seed))
        order = np.argsort(-model.score(found), kind="stable")
        return Candidates(found.sketches[order], found.positions[order])

    def _compiled(
        self, operator: Operator, space: Space[GpuTarget], model: GpuModel, proposed: Candidates
    ) -> tuple[list[Compiled], list[Failure]]:
        """What compiles before the time is up, best first, and what does not."""
        start_s, limit_s = time.monotonic(), self.search.budget().max_elapsed_s
        named = [space.named(proposed, row) for row in range(len(proposed))]
        jobs = [job_of(operator, space, candidate, self.seed) for candidate in named]
        rows, found, failures = [], [], []
        cache, num = self.option.compile_cache(), usable_cores()
        with CompilePool(self.measure, reproduce_command, cache, num) as pool, progress("compiling") as tick:
            for position, compilation in pool.compile(jobs):
                if compilation.failure is None:
                    rows.append(position)
                    found.append(compilation)
                else:
                    failures.append(compilation.failure)
                tick(len(found) + len(failures), len(jobs))
                if limit_s is not None and time.monotonic() - start_s > limit_s:
                    break
        chosen = Candidates(proposed.sketches[rows], proposed.positions[rows])
        scores = model.score(chosen, [compilation.resources for compilation in found])
        ranked = [Compiled(named[row], float(s), c) for row, s, c in zip(rows, scores, found, strict=True)]
        return sorted(ranked, key=lambda one: one.rank), failures

    def _verified(
        self, operator: Operator, space: Space[GpuTarget], compiled: Sequence[Compiled]
    ) -> tuple[list[Compiled], list[Failure]]:
        """The first of them that are right in the interpreter, as many as are wanted, and what was wrong."""
        kept: list[Compiled] = []
        failures = []
        with interpreter_pool(self.measure) as pool, progress("verifying") as tick:
            for one in compiled:
                if len(kept) == self.num_kernels:
                    break
                failure = pool.verify(job_of(operator, space, one.candidate, self.seed))
                if failure is None:
                    kept.append(one)
                else:
                    failures.append(failure)
                tick(len(kept), self.num_kernels)
        return kept, failures

    def measured(
        self,
        operator: Operator,
        space: Space[GpuTarget],
        gpu: str,
        processes: GpuProcesses,
        folder: Path,
        logger: Logger,
    ) -> Tuned:
        """Trials on the GPU of this machine, guided by the model; finalists timed in turn."""
        measurer = PoolMeasurer(processes.measuring, operator, space, self.seed, processes.compiling)
        result = self._searched(measurer, gpu, folder, logger)
        finalists = measurer.measure_finalists(result, self.num_kernels)
        rows = [written for finalist in finalists if (written := timed(finalist)) is not None]
        values = {
            "gpu": gpu,
            "trials": len(result.history),
            "num_failed": sum(trial.latency_s is None for trial in result.history),
            "search_s": result.elapsed_s,
            "stop_reason": result.stop_reason,
        }
        if not rows:
            return Tuned(None, values)
        write_kernels(operator, space, rows, folder / "kernels")
        say(f"{len(rows)} kernels are in {folder / 'kernels'}, every trial in {folder / 'history.csv'}")
        best = rows[0].facts
        values |= {
            **{name: best[name] for name in ("latency_s", "latency_low_s", "latency_high_s")},
            "gflops": operator.flops / best["latency_s"] / 1e9,
            "num_tied": sum(row.facts["is_tied"] for row in rows),
            "sketch": str(rows[0].candidate["sketch"]),
        }
        return Tuned(rows[0].candidate, values)

    def _searched(self, measurer: PoolMeasurer, gpu: str, folder: Path, logger: Logger) -> TuneResult:
        model, settings = self.guide.model(measurer.space, self.seed), self.bench.settings(self.measure)
        identity = search_identity(self.search, self.guide, measurer, settings, self.seed) | {"gpu": gpu}
        return journaled_search(self.search, model, measurer, identity, folder, logger)


def timed(finalist: Finalist) -> Written | None:
    """A finalist with its times; None if it failed."""
    summary = finalist.summary
    if summary is None:
        return None
    facts = {
        "latency_s": summary.median_s,
        "latency_low_s": summary.low_s,
        "latency_high_s": summary.high_s,
        "is_tied": finalist.is_tied,
    }
    return Written(finalist.job.candidate, facts)


def write_kernels(operator: Operator, space: Space[GpuTarget], rows: Sequence[Written], folder: Path) -> None:
    """A Python file for each candidate, numbered from the best on, and a table of them."""
    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.glob("[0-9][0-9]_*.py"):
        stale.unlink()
    version = code_version(ROOT)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    columns = list(rows[0].facts)
    writer.writerow(["file", "sketch", "knobs", *columns])
    shown = []
    for number, row in enumerate(rows, start=1):
        file = f"{number:02}_{str(row.candidate['sketch']).replace('.', '_')}.py"
        write_text(folder / file, candidate_source(operator, space, row.candidate, version))
        facts = [row.facts[name] for name in columns]
        writer.writerow([file, row.candidate["sketch"], row.candidate["knobs"], *facts])
        shown.append((file, *facts))
    write_text(folder / "kernels.csv", text.getvalue())
    show_table("kernels", ["file", *columns], shown)
