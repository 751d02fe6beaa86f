"""The suite ``triton``: every workload as GPU kernels, interpreted, compiled and counted without a GPU."""

from __future__ import annotations

import csv
import io
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np

from codegen.gpu_target import GPU_TARGETS, GpuTarget
from codegen.measure.compile_pool import Compilation, CompilePool
from codegen.measure.config import MeasureConfig
from codegen.measure.jobs import MeasureJob
from codegen.measure.measurement import Failure
from codegen.measure.pool import MeasurePool
from codegen.measure.workbench_triton import WORKBENCH
from codegen.ops import TRANSFORMER_WORKLOADS, WORKLOADS, Operator, operator_parameters
from codegen.precision import Precision
from codegen.schedule import Candidates, Space, build_space
from codegen.triton.compile_cache import CompileCache
from codegen.triton.limits import Limits
from costmodel.encoders.gpu_roofline import spilled_bytes
from costmodel.features.gpu import GpuFeaturiser
from scripts.options.gpu_target import GpuTargetConfig
from scripts.running.display import progress, show_table
from scripts.running.outputs import write_text
from scripts.tuning.measured_search import reproduce_command

GPU_WORKLOADS: dict[str, Operator] = {**WORKLOADS, **TRANSFORMER_WORKLOADS}


@dataclass(frozen=True, kw_only=True)
class TritonConfig:
    """Workloads by pattern, and how many candidates.

    Of ``num_drawn`` random candidates of a workload that fit all targets, one of each sketch is taken: the
    one that the interpreter is done with soonest, with the largest tiles that registers hold.
    ``num_agreement`` random candidates of all workloads together are compiled for each target to check the
    rule that tells what fits. ``precision`` says how; its ``name`` and ``device`` do not matter.
    """

    workloads: tuple[str, ...] = ("*",)
    num_drawn: int = 200
    num_agreement: int = 100
    num_workers: int = 2
    timeout_s: float = 120.0
    precision: GpuTargetConfig = field(default_factory=GpuTargetConfig)

    def __post_init__(self) -> None:
        if min(self.num_drawn, self.num_workers) < 1 or self.num_agreement < 0:
            raise ValueError(
                "num_drawn and num_workers must be at least 1 and num_agreement at least 0, got "
                f"{self.num_drawn}, {self.num_workers} and {self.num_agreement}"
            )

    def chosen(self) -> dict[str, Operator]:
        """The workloads; ValueError if a pattern matches none."""
        return matching_workloads("triton.workloads", self.workloads, GPU_WORKLOADS)

    def targets(self) -> tuple[GpuTarget, ...]:
        """All architectures in the precision asked for."""
        precision: Precision = self.precision.describe().precision
        return tuple(replace(target, precision=precision) for target in GPU_TARGETS.values())


def matching_workloads(
    option: str, patterns: Sequence[str], workloads: Mapping[str, Operator]
) -> dict[str, Operator]:
    """Those that match a pattern; ValueError names the option and a pattern that matches none."""
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in workloads):
            raise ValueError(f"{option}: {pattern!r} matches none of {', '.join(workloads)}")
    return {
        name: operator
        for name, operator in workloads.items()
        if any(fnmatchcase(name, pattern) for pattern in patterns)
    }


@dataclass(frozen=True)
class Case:
    """One kernel to generate: a candidate of a workload, the same on all targets."""

    workload: str
    operator: Operator
    candidate: Mapping[str, object]

    def job(self, target: GpuTarget, seed: int) -> MeasureJob:
        """The candidate on one target."""
        parameters = operator_parameters(self.operator)
        return MeasureJob(self.operator.operator_name, parameters, target, self.candidate, seed)


@dataclass(frozen=True)
class Outcome:
    """What became of one case on one target, or in the interpreter."""

    case: Case
    where: str
    failure: Failure | None
    seconds: float


def triton_metrics(config: TritonConfig, seed: int, folder: Path) -> dict[str, float | int | str]:
    """Run the suite; ``kernels.csv`` has a row for each kernel and place."""
    targets, cache = config.targets(), config.precision.compile_cache()
    cases = [
        case for name, operator in config.chosen().items() for case in cases_of(name, operator, config, seed)
    ]
    verified = _verify(cases, targets[0], config, seed)
    compiled, rates = _compile(cases, targets, config, seed, cache)
    write_text(folder / "kernels.csv", _table([*verified, *compiled]))
    values = counted(cases, verified, compiled, targets) | rates
    values |= _agreement(config, targets, seed, cache)
    show_table(
        "kernels",
        ["workload", "kernels", "right", *(t.name for t in targets)],
        _rows(verified, compiled, targets),
    )
    return values


def counted(
    cases: Sequence[Case],
    verified: Sequence[Outcome],
    compiled: Sequence[Outcome],
    targets: Sequence[GpuTarget],
) -> dict[str, float | int | str]:
    """Kernels by what became of them; a kernel is compiled if it is for all targets."""
    good = {
        target.name: sum(o.failure is None for o in compiled if o.where == target.name) for target in targets
    }
    failed = [outcome.failure for outcome in (*verified, *compiled) if outcome.failure is not None]
    kinds = Counter(failure.kind for failure in failed)
    broken = {id(outcome.case) for outcome in compiled if outcome.failure is not None}
    return {
        "num_kernels": len(cases),
        "num_verified": sum(outcome.failure is None for outcome in verified),
        "num_compiled": len(cases) - len(broken),
        **{f"num_compiled_{name}": num for name, num in good.items()},
        "num_failed": len(failed),
        **{f"num_failed_{kind}": num for kind, num in sorted(kinds.items())},
        "verify_s": sum(outcome.seconds for outcome in verified),
    }


def cases_of(name: str, operator: Operator, config: TritonConfig, seed: int) -> list[Case]:
    """One candidate per sketch: of random ones that fit every target, that with fewest steps.

    One that is expected to hold more in registers than there are is taken only where all are.
    """
    spaces = [build_space(operator.program(), target) for target in config.targets()]
    space = spaces[0]
    candidates = space.sample(config.num_drawn, np.random.default_rng(seed))
    fits = np.all([Limits(each).fits(candidates) for each in spaces], axis=0)
    featuriser = GpuFeaturiser(space)
    works = featuriser.facts(candidates).kernels
    spills = np.any([spilled_bytes(work, featuriser.device) > 0 for work in works], axis=0)
    steps = np.where(fits, featuriser.num_steps(candidates), np.inf)
    fewest = [
        int(rows[np.lexsort((steps[rows], spills[rows] | ~fits[rows]))[0]])
        for _, rows in space.by_sketch(candidates)
    ]
    return [Case(name, operator, space.named(candidates, row)) for row in fewest if np.isfinite(steps[row])]


def _verify(cases: Sequence[Case], target: GpuTarget, config: TritonConfig, seed: int) -> list[Outcome]:
    measure = MeasureConfig(timeout_s=config.timeout_s)
    outcomes = []
    with MeasurePool(measure, reproduce_command, WORKBENCH) as pool, progress("interpreting") as tick:
        for number, case in enumerate(cases, start=1):
            start_s = time.perf_counter()
            failure = pool.verify(case.job(target, seed))
            outcomes.append(Outcome(case, "interpreter", failure, time.perf_counter() - start_s))
            tick(number, len(cases), case.workload)
    return outcomes


def _compile(
    cases: Sequence[Case], targets: Sequence[GpuTarget], config: TritonConfig, seed: int, cache: CompileCache
) -> tuple[list[Outcome], dict[str, float | int | str]]:
    """Compile every case for every target, then ask again for what the cache holds."""
    asked = [(case, target) for case in cases for target in targets]
    jobs = [case.job(target, seed) for case, target in asked]
    results, rates = _compile_jobs(jobs, config, cache, checks_limits=True)
    outcomes = [
        Outcome(case, target.name, results[number].failure, 0.0)
        for number, (case, target) in enumerate(asked)
    ]
    return outcomes, rates


def _compile_jobs(
    jobs: Sequence[MeasureJob], config: TritonConfig, cache: CompileCache, *, checks_limits: bool
) -> tuple[dict[int, Compilation], dict[str, float | int | str]]:
    """Results by position, and kernels a second: compiled ones, if there were any, and cached ones."""
    measure = MeasureConfig(timeout_s=config.timeout_s)
    results: dict[int, Compilation] = {}
    pool = CompilePool(measure, reproduce_command, cache, config.num_workers, checks_limits=checks_limits)
    with pool, progress("compiling") as tick:
        start_s = time.perf_counter()
        for position, compilation in pool.compile(jobs):
            results[position] = compilation
            tick(len(results), len(jobs))
        elapsed_s = time.perf_counter() - start_s
        start_s = time.perf_counter()
        num_cached = sum(result.is_cached for _, result in pool.compile(jobs[:_NUM_ASKED_AGAIN]))
        cached_s = time.perf_counter() - start_s
    fresh = sum(not result.is_cached for result in results.values())
    rates: dict[str, float | int | str] = {"num_newly_compiled": fresh}
    if fresh == len(jobs):
        rates["compiled_per_s"] = fresh / elapsed_s
    if num_cached:
        rates["cached_per_s"] = num_cached / cached_s
    return results, rates


_NUM_ASKED_AGAIN = 100


def _agreement(
    config: TritonConfig, targets: Sequence[GpuTarget], seed: int, cache: CompileCache
) -> dict[str, float | int | str]:
    """How often the rule and the compiler say the same of random candidates of random workloads."""
    values: dict[str, float | int | str] = {}
    if not config.num_agreement:
        return values
    workloads = list(config.chosen().values())
    for target in targets:
        rng = np.random.default_rng([seed, 1])
        jobs, predicted = [], []
        for operator, num in zip(workloads, _shares(config.num_agreement, len(workloads)), strict=True):
            space = build_space(operator.program(), target)
            candidates = space.sample(num, rng)
            predicted += Limits(space).fits(candidates).tolist()
            jobs += [_job(operator, space, candidates, row, seed) for row in range(num)]
        results, _ = _compile_jobs(jobs, config, cache, checks_limits=False)
        values |= agreement([results[n] for n in range(len(jobs))], predicted, target.name)
    return values


def agreement(
    results: Sequence[Compilation], predicted: Sequence[bool], name: str
) -> dict[str, float | int | str]:
    """How often rule and compiler say the same; a candidate that took too long tells nothing."""
    pairs = [
        (result.failure is None, bool(fits))
        for result, fits in zip(results, predicted, strict=True)
        if result.failure is None or result.failure.kind != "timeout"
    ]
    if not pairs:
        return {}
    return {
        f"num_rule_checked_{name}": len(pairs),
        f"num_not_fitting_{name}": sum(not fits for fits, _ in pairs),
        f"rule_agreement_{name}": sum(fits == expected for fits, expected in pairs) / len(pairs),
    }


def _job(
    operator: Operator, space: Space[GpuTarget], candidates: Candidates, row: int, seed: int
) -> MeasureJob:
    named = space.named(candidates, row)
    return MeasureJob(operator.operator_name, operator_parameters(operator), space.target, named, seed)


def _shares(total: int, num: int) -> list[int]:
    """A total in whole parts that differ by one at most."""
    return [total // num + (place < total % num) for place in range(num)]


def _rows(
    verified: Sequence[Outcome], compiled: Sequence[Outcome], targets: Sequence[GpuTarget]
) -> list[tuple[object, ...]]:
    rows = []
    for name in dict.fromkeys(outcome.case.workload for outcome in verified):
        mine = [outcome for outcome in (*verified, *compiled) if outcome.case.workload == name]
        counts = Counter(outcome.where for outcome in mine if outcome.failure is None)
        num = sum(outcome.where == "interpreter" for outcome in mine)
        rows.append((name, num, counts["interpreter"], *(counts[target.name] for target in targets)))
    return rows


def _table(outcomes: Sequence[Outcome]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["workload", "sketch", "knobs", "where", "status", "message", "command"])
    for outcome in outcomes:
        candidate, failure = outcome.case.candidate, outcome.failure
        told = ("ok", "", "") if failure is None else (failure.kind, failure.message, failure.command)
        writer.writerow(
            [outcome.case.workload, candidate["sketch"], candidate["knobs"], outcome.where, *told]
        )
    return text.getvalue()
