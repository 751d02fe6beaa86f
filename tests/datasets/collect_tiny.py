"""Collects records of two tiny spaces into a database; run by tests, and killed by one of them.

Usage: python collect_tiny.py DATABASE [seconds per trial]. Prints a line for each stored trial.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from codegen.measure.jobs import MeasureJob
from codegen.measure.measurement import Failure, Measurement
from codegen.schedule.candidates import Candidates
from codegen.target import Target
from datasets.collect import Conditions, Workload, collect
from datasets.plan import CollectConfig
from datasets.record import text_hash
from datasets.store import RecordStore
from datasets.tasks import Task

TARGET = Target(
    name="tiny",
    cpu="none",
    llvm_cpu="none",
    llvm_features="",
    vector_lanes=8,
    num_vector_registers=16,
    num_threads=1,
    l1_bytes=1,
    l2_bytes=2,
    l3_bytes=3,
)


CONDITIONS = Conditions(code_version="v1", compiler="a compiler")


class TinySpace:
    """Knobs ``k0``, ``k1``, ... of ``size`` values each; an odd ``k0`` means the even one below."""

    def __init__(self, size: int, num_knobs: int = 3) -> None:
        self.size, self.num_knobs = size, num_knobs

    def sample(self, num: int, rng: np.random.Generator) -> Candidates:
        assert num > 0, "not every space can draw nothing"
        positions = rng.integers(self.size, size=(num, self.num_knobs))
        return Candidates(np.zeros(num, dtype=np.int64), positions)

    def mutate(self, candidates: Candidates, rng: np.random.Generator) -> Candidates:
        positions = candidates.positions.copy()
        rows = np.arange(len(positions))
        columns = rng.integers(self.num_knobs, size=len(rows))
        positions[rows, columns] = rng.integers(self.size, size=len(rows))
        return Candidates(candidates.sketches, positions)

    def canonical(self, candidates: Candidates) -> Candidates:
        positions = candidates.positions.copy()
        positions[:, 0] -= positions[:, 0] % 2
        return Candidates(candidates.sketches, positions)

    def named(self, candidates: Candidates, row: int) -> dict[str, object]:
        values = candidates.positions[row]
        return {"sketch": "only", "knobs": {f"k{number}": value for number, value in enumerate(values)}}


class TinyPool:
    """Times that follow from the knobs; candidates with ``k1 == 0`` fail."""

    def __init__(self, pause_s: float = 0.0) -> None:
        self.pause_s = pause_s
        self.jobs: list[MeasureJob] = []

    def measure(self, jobs: Sequence[MeasureJob]) -> Iterator[tuple[int, Measurement]]:
        for position, job in enumerate(jobs):
            self.jobs.append(job)
            time.sleep(self.pause_s)
            knobs = job.candidate["knobs"]
            if knobs["k1"] == 0:
                yield position, Measurement((), Failure("timeout", "timeout after 1 s"))
            else:
                latency_s = 1e-3 * (1 + sum(knobs.values())) / 3
                yield position, Measurement((latency_s, latency_s * 1.1, latency_s * 0.9))


def workload(name: str, space: TinySpace) -> Workload:
    text = f"program {name}\ninput {name}\n"
    return Workload(Task(name, "matmul", {"m": space.size}), text_hash(text), text, space)


def main() -> None:
    pause_s = float(sys.argv[2]) if len(sys.argv) > 2 else 0.0
    workloads = [workload("first", TinySpace(9)), workload("second", TinySpace(12))]
    config = CollectConfig(seed=5, num_trials=60, round_size=8, repeat_share=0.2)
    with RecordStore(sys.argv[1]) as store:
        for record in collect(workloads, TinyPool(pause_s), store, TARGET, config, CONDITIONS):
            print(record.task, record.trial, record.candidate_key, flush=True)


if __name__ == "__main__":
    main()
