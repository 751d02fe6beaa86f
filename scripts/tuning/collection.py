"""What a collection measures: tasks of a list, and the search that proposes a share of the trials."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from codegen.schedule import Space
from codegen.target import Target
from datasets.collect import Workload, make_workload
from datasets.tasks import load_tasks
from scripts.learning.guide import Guide
from scripts.options.searches import SearchOption
from search.protocols import Searcher


def chosen_workloads(path: Path, only: Sequence[str], num: int | None, target: Target) -> list[Workload]:
    """The (first ``num``) tasks of a list whose names match a pattern; ValueError if none does."""
    tasks = load_tasks(path)
    chosen = [task for task in tasks if any(fnmatchcase(task.name, pattern) for pattern in only)]
    if not chosen:
        names = ", ".join(task.name for task in tasks)
        raise ValueError(f"only={list(only)} matches none of the {len(tasks)} tasks in {path}: {names}")
    return [make_workload(task, target) for task in chosen[:num]]


def unmeasured_search(guide: Guide, option: SearchOption, seed: int) -> Callable[[Workload], Searcher]:
    """Starts a search that never hears of measurements, so that a collection can plan the same again."""

    def start(workload: Workload) -> Searcher:
        assert isinstance(workload.space, Space)
        return option.searcher(workload.space, guide.predictor(workload.space, seed))

    return start
