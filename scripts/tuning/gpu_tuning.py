"""Tuning for a GPU: measured where there is one, else ranked, compiled and verified, and nothing timed."""

from __future__ import annotations

import csv
import io
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from codegen.gpu_target import GpuTarget
from codegen.measure.compile_pool import Compilation, CompilePool
from codegen.measure.config import MeasureConfig
from codegen.measure.jobs import MeasureJob
from codegen.measure.measurement import Failure
from codegen.measure.pool import MeasurePool
from codegen.measure.workbench_cuda import WORKBENCH as CUDA_WORKBENCH
from codegen.measure.workbench_triton import WORKBENCH as INTERPRETER
from codegen.ops import Operator, operator_parameters
from codegen.schedule import Candidates, Space, build_space
from codegen.triton.candidate import candidate_source
from costmodel.gpu_prior import GpuPrior
from scripts.options.gpu_target import GpuTargetConfig
from scripts.options.searches import SearchOption
from scripts.running.display import progress, say, show_table
from scripts.running.launch import ROOT
from scripts.running.loggers import Logger
from scripts.running.outputs import Metrics, code_version, write_text
from scripts.tuning.gpu_resources import resource_metrics
from scripts.tuning.measured_search import reproduce_command, trial_reporter, write_history
from search.tuner import tune

_PROPOSED_FOR_EACH = 4
"""Candidates that are compiled for each one that is wanted."""


def require_model(search: SearchOption) -> None:
    """ValueError if GPU kernels are to be ranked by a search that asks nothing but measurements."""
    if not search.measure and not search.uses_model:
        raise ValueError("search.measure=false needs a search that asks a model, annealer or evolution")


def require_measure(search: SearchOption) -> None:
    """ValueError if a CPU is to be tuned without measuring."""
    if not search.measure:
        raise ValueError("search.measure=false is for GPU targets: a CPU is there to measure on")


@dataclass(frozen=True)
class Ranked:
    """A candidate that compiled, by the score of the analytic model with what the compiler found."""

    candidate: Mapping[str, Any]
    score: float
    compilation: Compilation


@dataclass(frozen=True)
class GpuTuning:
    """What a run for a GPU needs to know."""

    search: SearchOption
    measure: MeasureConfig
    option: GpuTargetConfig
    num_kernels: int
    seed: int

    def run(self, name: str, operator: Operator, folder: Path, logger: Logger) -> Metrics:
        """Search the operator's space; kernels as files in ``kernels``, best first."""
        require_model(self.search)
        start_s = time.monotonic()
        space = build_space(operator.program(), self.option.describe())
        say(f"{name} on {space.target.name}: {space.count():.3g} schedules")
        work = self._measured if self.search.measure else self._ranked
        values = work(operator, space, folder, logger)
        return {**values, "task": name, "target": space.target.name, "wall_s": time.monotonic() - start_s}

    def _ranked(
        self, operator: Operator, space: Space[GpuTarget], folder: Path, logger: Logger
    ) -> dict[str, Any]:
        """The analytic model's best that compile and are right; no time is known of any."""
        prior = GpuPrior(space)
        searcher = self.search.searcher(space, prior)
        none = space.sample(0, np.random.default_rng(0)).keys()
        wanted = _PROPOSED_FOR_EACH * self.num_kernels
        candidates = searcher.propose(wanted, none, np.random.default_rng(self.seed))
        ranked, failures = self._compiled(operator, space, prior, candidates)
        num_compiled = len(ranked)
        kept: list[Ranked] = []
        with MeasurePool(self.measure, reproduce_command, INTERPRETER) as pool, progress("verifying") as tick:
            for one in ranked:
                if len(kept) == self.num_kernels:
                    break
                failure = pool.verify(self._job(operator, space, one.candidate))
                if failure is None:
                    kept.append(one)
                else:
                    failures.append(failure)
                tick(len(kept), self.num_kernels)
        if not kept:
            kinds = ", ".join(f"{failure.kind}: {failure.message}" for failure in failures[:3])
            raise ValueError(f"no schedule was compiled and right ({kinds})")
        write_kernels(operator, space, kept, folder / "kernels")
        say(f"{len(kept)} kernels, compiled and right, are in {folder / 'kernels'}; none has been timed")
        counts = Counter(failure.kind for failure in failures)
        return {
            "num_proposed": len(candidates),
            "num_compiled": num_compiled,
            "num_verified": len(kept),
            "num_failed": len(failures),
            **{f"num_failed_{kind}": count for kind, count in sorted(counts.items())},
            "sketch": str(kept[0].candidate["sketch"]),
            **resource_metrics(kept[0].compilation),
        }

    def _compiled(
        self, operator: Operator, space: Space[GpuTarget], prior: GpuPrior, candidates: Candidates
    ) -> tuple[list[Ranked], list[Failure]]:
        """What compiles, best first: kernels that spill come after all others."""
        scores = prior.score(candidates)
        named = [space.named(candidates, row) for row in range(len(candidates))]
        jobs = [self._job(operator, space, candidate) for candidate in named]
        found, failures = [], []
        cache = self.option.compile_cache()
        with CompilePool(self.measure, reproduce_command, cache) as pool, progress("compiling") as tick:
            for position, compilation in pool.compile(jobs):
                if compilation.failure is None:
                    found.append(Ranked(named[position], float(scores[position]), compilation))
                else:
                    failures.append(compilation.failure)
                tick(len(found) + len(failures), len(jobs))
        spills = [sum(r.spilled_bytes for r in one.compilation.resources) > 0 for one in found]
        order = sorted(range(len(found)), key=lambda row: (spills[row], -found[row].score))
        return [found[row] for row in order], failures

    def _measured(
        self, operator: Operator, space: Space[GpuTarget], folder: Path, logger: Logger
    ) -> dict[str, Any]:
        """Trials on the GPU of this machine, guided by the analytic model."""
        require_cuda(space.target)
        # The reference kernel and the flushing of caches are those of CPUs; this workbench flushes by itself.
        measure = replace(self.measure, reference_every=0, flush_cache=False)
        prior = GpuPrior(space)
        with MeasurePool(measure, reproduce_command, CUDA_WORKBENCH) as pool, progress("tuning") as tick:
            result = tune(
                space=space,
                searcher=self.search.searcher(space, prior),
                measurer=_PoolMeasurer(pool, self, operator, space),
                model=prior if self.search.uses_model else None,
                config=self.search.budget(),
                rng=np.random.default_rng(self.seed),
                on_trial=trial_reporter(tick, self.search.budget().num_trials or 0, logger),
            )
        write_history(folder / "history.csv", result.history)
        measured = [(m.latency_s, row) for row, m in enumerate(result.measurements) if m.failure is None]
        if not measured:
            raise ValueError("no schedule could be measured; history.csv says why")
        latency_s, row = min(measured)
        best = Ranked(space.named(result.candidates, row), 0.0, Compilation(()))
        write_kernels(operator, space, [best], folder / "kernels")
        return {
            "latency_s": latency_s,
            "trials": len(result.history),
            "num_failed": len(result.history) - len(measured),
            "sketch": str(best.candidate["sketch"]),
        }

    def _job(self, operator: Operator, space: Space[GpuTarget], candidate: Mapping[str, Any]) -> MeasureJob:
        parameters = operator_parameters(operator)
        return MeasureJob(operator.operator_name, parameters, space.target, candidate, self.seed)


@dataclass(frozen=True)
class _PoolMeasurer:
    pool: MeasurePool
    tuning: GpuTuning
    operator: Operator
    space: Space[GpuTarget]

    def measure(self, candidates: Candidates) -> Any:
        for row in range(len(candidates)):
            named = self.space.named(candidates, row)
            yield self.pool.measure_one(self.tuning._job(self.operator, self.space, named))


def require_cuda(target: GpuTarget) -> None:
    """ValueError if this machine has no GPU of the target's architecture."""
    import torch

    hint = "search.measure=false ranks, compiles and verifies kernels without one"
    if not torch.cuda.is_available():
        raise ValueError(f"there is no GPU to measure {target.name} on; {hint}")
    major, minor = torch.cuda.get_device_capability()
    if target.backend == "cuda" and target.arch != f"sm_{major}{minor}":
        raise ValueError(
            f"the GPU of this machine is sm_{major}{minor}, {target.name} is {target.arch}; {hint}"
        )


def write_kernels(operator: Operator, space: Space[GpuTarget], kept: Sequence[Ranked], folder: Path) -> None:
    """A Python file for each candidate, numbered from the best on, and a table of them."""
    folder.mkdir(parents=True, exist_ok=True)
    version = code_version(ROOT)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    resources = list(resource_metrics(kept[0].compilation))
    writer.writerow(["file", "sketch", "knobs", *resources])
    shown = []
    for number, one in enumerate(kept, start=1):
        file = f"{number:02}_{str(one.candidate['sketch']).replace('.', '_')}.py"
        write_text(folder / file, candidate_source(operator, space, one.candidate, version))
        found = resource_metrics(one.compilation)
        writer.writerow(
            [file, one.candidate["sketch"], one.candidate["knobs"], *(found[r] for r in resources)]
        )
        shown.append((file, *(found[name] for name in resources)))
    write_text(folder / "kernels.csv", text.getvalue())
    show_table("kernels", ["file", *resources], shown)
