"""The project's claims as numbers: python scripts/benchmark.py suite=throughput.

Other suites: training, ranking, precision, compilation, tune, search, end_use, operators, awkward, memory,
triton, gpu; all runs throughput, ranking, tune and search.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.running.interruption import end_quietly_when_interrupted

end_quietly_when_interrupted()

from scripts.options.groups import register_groups
from scripts.running.display import show_table
from scripts.running.launch import Run, launch
from scripts.running.outputs import Metrics
from scripts.suites.benchmarks import ALL, SUITES, TOLD_IN_TABLES, Benchmark
from scripts.suites.names import SUITES_OF
from scripts.suites.operators.suite import STORED_SUITES


def run(run: Run[Benchmark]) -> Metrics:
    """Run the suite, or all of them, one after another."""
    chosen = ALL if run.config.suite == "all" else (run.config.suite,)
    target = run.config.target.detect()
    metrics: dict[str, float | int | str] = {"target": target.name}
    for name in chosen:
        metrics.update(SUITES[name](run.config, target, run.folder))
    if rows := _not_shown_yet(run.config.suite, metrics):
        show_table(f"benchmark on {target.name}", ["what", "value"], rows)
    return metrics


def _not_shown_yet(suite: str, metrics: Metrics) -> list[tuple[str, object]]:
    """Without what a suite's own tables say: all, or that of each workload."""
    if suite in TOLD_IN_TABLES:
        return []
    prefixes = tuple(f"{workload}_" for workload in STORED_SUITES.get(suite, ()))
    return [(name, value) for name, value in metrics.items() if not name.startswith(prefixes)]


if __name__ == "__main__":
    register_groups()
    launch("benchmark", Benchmark, run, suites=SUITES_OF)
