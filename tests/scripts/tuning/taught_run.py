"""Two tasks that share trials and teach each other's models, as a program that is killed.

``python taught_run.py FOLDER`` writes a journal for each task and prints whose turns they were. Runtimes are
made up from the features; the models and their refits are real.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from codegen.measure.measurement import Measurement
from codegen.ops import make_operator
from codegen.schedule import Candidates, Space
from costmodel.encoders.treegru import TreeGRUConfig
from costmodel.features.featurise import featurise
from costmodel.neural import NeuralModel
from costmodel.predictor import Predictor
from costmodel.train import RefitConfig
from scripts.tuning.lessons import Lesson, teach
from search.annealer import AnnealConfig, Annealer
from search.arms import PlanConfig
from search.journal import open_journal
from search.scheduler import ScheduleConfig, ScheduledTask, tune_tasks
from search.trials import TuneConfig
from search.tuner import TuningRun
from tests.costmodel.synthetic import OPERATORS, runtime, space_of

NAMES = ("matmul", "small_matmul")
CONFIG = TuneConfig(num_trials=40, plan=PlanConfig(num_trials=6, epsilon=0.0))


@dataclass(frozen=True)
class MadeUp:
    """Runtimes that follow from the features."""

    space: Space

    def measure(self, candidates: Candidates) -> Iterator[Measurement]:
        for time_s in 1e-6 * runtime(featurise(self.space, candidates)):
            yield Measurement((float(time_s),))


def fresh() -> NeuralModel:
    """A small network that knows nothing."""
    return NeuralModel(TreeGRUConfig(hidden=16, readout=16), refit=RefitConfig(num_steps=10))


def journals(folder: Path) -> list[Path]:
    return [folder / f"{name}.jsonl" for name in NAMES]


def taught_run(folder: Path, learn_together: bool = True) -> list[str]:
    with ExitStack() as stack:
        predictors, runs = [], []

        def taught(number: int) -> None:
            other = 1 - number
            if other < len(runs):
                candidates, latencies_s, _ = runs[other].outcomes()
                lesson = Lesson(
                    make_operator(*OPERATORS[NAMES[other]]), predictors[other].lesson(candidates, latencies_s)
                )
                teach(predictors[number], make_operator(*OPERATORS[NAMES[number]]), [lesson])

        for number, path in enumerate(journals(folder)):
            space = space_of(NAMES[number])
            predictor = Predictor(fresh(), space, num_threads=1)
            searcher = Annealer(space, predictor, AnnealConfig(num_chains=8, num_steps=10))
            journal = stack.enter_context(open_journal(path, {"task": path.stem}))
            rng = np.random.default_rng(number)
            hook = partial(taught, number) if learn_together else None
            predictors.append(predictor)
            runs.append(
                TuningRun(space, searcher, MadeUp(space), predictor, CONFIG, rng, journal, before_refit=hook)
            )
        scheduled = [ScheduledTask(name, run) for name, run in zip(NAMES, runs, strict=True)]
        schedule = tune_tasks(scheduled, 48, ScheduleConfig(epsilon=0.2), np.random.default_rng(5))
        return list(schedule.turns)


if __name__ == "__main__":
    print(" ".join(taught_run(Path(sys.argv[1]))))
