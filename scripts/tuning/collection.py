"""What a collection measures, and where: tasks of a list, a machine, and a search that proposes a share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

from codegen.any_target import AnyTarget
from codegen.measure.config import MeasureConfig
from codegen.measure.pool import MeasurePool
from codegen.schedule import Space
from codegen.target import compiler_name
from codegen.triton.compile import triton_version
from costmodel.gpu_prior import GpuPrior
from datasets.collect import Conditions, Pool, Workload
from datasets.tasks import Task, load_tasks
from scripts.learning.guide import Guide
from scripts.options.gpu_target import GpuTargetConfig
from scripts.options.groups import TargetConfig
from scripts.options.searches import SearchOption
from scripts.tuning.gpu_resources import GpuBench, require_described
from scripts.tuning.measured_search import reproduce_command
from search.protocols import Searcher


@dataclass(frozen=True)
class Site:
    """A machine to collect on: its target, under what conditions it measures, and what does so."""

    target: AnyTarget
    conditions: Conditions
    open_pool: Callable[[], AbstractContextManager[Pool]]
    proposer_of: Callable[[Workload], Searcher]


def cpu_site(
    option: TargetConfig, measure: MeasureConfig, version: str, guide: Guide, search: SearchOption, seed: int
) -> Site:
    """The CPU of this machine; the model that guides the search is opened for each workload."""

    def start(workload: Workload) -> Searcher:
        assert isinstance(workload.space, Space)
        return search.searcher(workload.space, guide.predictor(workload.space, seed))

    return Site(
        option.detect(),
        Conditions(
            code_version=version,
            compiler=compiler_name(),
            cache="flushed" if measure.flush_cache else "warm",
        ),
        lambda: MeasurePool(measure, reproduce_command),
        start,
    )


def gpu_site(
    option: GpuTargetConfig, measure: MeasureConfig, version: str, search: SearchOption, bench: GpuBench
) -> Site:
    """The GPU of this machine; the analytic model guides the search.

    Raises:
        ValueError: there is no GPU, or it is not the device that the target describes.
    """
    target = option.describe()
    gpu = bench.name_of_gpu(target)
    require_described(target, gpu)

    def start(workload: Workload) -> Searcher:
        space = workload.space
        assert isinstance(space, Space)
        return search.searcher(space, GpuPrior(space))

    precision = target.precision
    products = "" if precision.dot_input == "ieee" else f", {precision.dot_input} products"
    named = replace(target, name=f"{gpu}, {precision.storage}{products}")
    compiler = f"Triton {triton_version()}"
    conditions = Conditions(code_version=version, compiler=compiler, cache="flushed")
    return Site(named, conditions, lambda: bench.processes(measure), start)


def chosen_tasks(path: Path, only: Sequence[str], num: int | None) -> list[Task]:
    """The (first ``num``) tasks of a list whose names match a pattern; ValueError if none does."""
    tasks = load_tasks(path)
    chosen = [task for task in tasks if any(fnmatchcase(task.name, pattern) for pattern in only)]
    if not chosen:
        names = ", ".join(task.name for task in tasks)
        raise ValueError(f"only={list(only)} matches none of the {len(tasks)} tasks in {path}: {names}")
    return chosen[:num]
