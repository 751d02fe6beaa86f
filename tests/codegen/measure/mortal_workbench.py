"""A workbench whose process dies while nothing of a candidate runs, in the phase that a file says."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from codegen.measure import trials
from codegen.measure.config import MeasureConfig
from codegen.measure.jobs import MeasureJob
from codegen.measure.steadiness import Watch
from tests.codegen.measure.faulty_workbench import FaultyWorkbench

DEATHS = "MORTAL_WORKBENCH_DEATHS"
"""Environment variable with the path of the file, which holds a phase and how many deaths are left."""


def die_as_told(phase: str) -> None:
    file = Path(os.environ[DEATHS])
    named, num_left = file.read_text().split()
    if named == phase and int(num_left) > 0:
        file.write_text(f"{named} {int(num_left) - 1}")
        os.kill(os.getpid(), signal.SIGKILL)


class MortalWatch(Watch):
    def wait(self) -> float:
        die_as_told("waiting")
        return super().wait()


class MortalWorkbench(FaultyWorkbench):
    def prepare(self, job: MeasureJob) -> None:
        die_as_told("preparing")


def make_workbench(config: MeasureConfig) -> MortalWorkbench:
    setattr(trials, "Watch", MortalWatch)  # noqa: B010 (to a type checker a class is no variable)
    return MortalWorkbench()
