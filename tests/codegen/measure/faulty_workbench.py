"""A real, tiny workbench whose candidates misbehave on demand: the sketch names how."""

from __future__ import annotations

import ctypes
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from codegen.measure.config import MeasureConfig
from codegen.measure.jobs import ConstraintError, MeasureJob, Trial

LIBC = ctypes.CDLL(None)


def crash() -> None:
    ctypes.string_at(0)


def hang() -> None:
    """In native code that keeps the interpreter's lock, so that no Python signal handler could run."""
    ctypes.PyDLL(None).sleep(1000)


def abort_with_words() -> None:
    print("LLVM ERROR: cannot select", file=sys.stderr, flush=True)
    os.abort()


def chatter() -> None:
    print("a warning of no consequence", file=sys.stderr, flush=True)


def fill_memory() -> None:
    hoard = []
    while True:
        hoard.append(np.empty(2**22, dtype=np.float32))


def fail() -> None:
    raise RuntimeError("first line\nsecond line")


def linger() -> None:
    time.sleep(0.3)


def refuse() -> None:
    raise ConstraintError("tile of 3 does not divide 16")


MISDEEDS: dict[str, Callable[[], None]] = {
    "crash": crash,
    "hang": hang,
    "abort": abort_with_words,
    "chatter": chatter,
    "memory": fill_memory,
    "raise": fail,
    "slow": linger,
    "constraints": refuse,
}


@dataclass
class Sleeper:
    """Sleeps for ``duration_s`` a call, and misbehaves in the phase that its knobs name."""

    job: MeasureJob
    compile_s: float = 0.001
    num_timings: int = 0

    def check(self) -> str | None:
        if self.job.candidate["sketch"] == "wrong":
            return "largest error 2.0 at (0, 1), allowed 1e-05"
        misbehave(self.job, "check")
        return None

    def time_calls(self, num_calls: int) -> float:
        self.num_timings += 1
        misbehave(self.job, "time")
        misbehave(self.job, f"{self.num_timings}th call")
        start_s = time.perf_counter()
        for _ in range(num_calls):
            time.sleep(self.job.candidate["knobs"].get("duration_us", 100) / 1e6)
        return time.perf_counter() - start_s


class FaultyWorkbench:
    def prepare(self, job: MeasureJob) -> None:
        if job.operator == "impossible":
            raise ValueError("rows must be positive, got 0")
        if job.operator == "unpreparable":
            crash()

    def build(self, job: MeasureJob) -> Trial:
        misbehave(job, "build")
        return Sleeper(job)


def misbehave(job: MeasureJob, phase: str) -> None:
    misdeed, _, when = job.candidate["sketch"].partition(" in ")
    if when == phase and misdeed in MISDEEDS:
        MISDEEDS[misdeed]()


def make_workbench(config: MeasureConfig) -> FaultyWorkbench:
    assert "torch" not in sys.modules
    return FaultyWorkbench()
