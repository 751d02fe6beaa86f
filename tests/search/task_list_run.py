"""Two tasks that share their trials, with journals, as a program that is killed.

``python task_list_run.py FOLDER`` writes a journal for each task and prints whose turns they were.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from search.annealer import AnnealConfig, Annealer
from search.arms import PlanConfig
from search.journal import open_journal
from search.scheduler import ScheduleConfig, ScheduledTask, tune_tasks
from search.trials import TuneConfig
from search.tuner import TuningRun
from tests.search.spaces import KnobSpace, LinearModel, RuggedMeasurer

NAMES = ("often", "seldom")


def journals(folder: Path) -> list[Path]:
    return [folder / f"{name}.jsonl" for name in NAMES]


def task_list_run(folder: Path) -> list[str]:
    with ExitStack() as stack:
        tasks = []
        for count, path in zip((3, 1), journals(folder), strict=True):
            space, model = KnobSpace(), LinearModel()
            searcher = Annealer(space, model, AnnealConfig(num_chains=16, num_steps=15))
            journal = stack.enter_context(open_journal(path, {"task": path.stem}))
            config = TuneConfig(num_trials=60, plan=PlanConfig(num_trials=6))
            rng = np.random.default_rng(count)
            run = TuningRun(space, searcher, RuggedMeasurer(), model, config, rng, journal)
            tasks.append(ScheduledTask(path.stem, run, count=count))
        schedule = tune_tasks(tasks, 80, ScheduleConfig(epsilon=0.2), np.random.default_rng(5))
        return list(schedule.turns)


if __name__ == "__main__":
    print(" ".join(task_list_run(Path(sys.argv[1]))))
