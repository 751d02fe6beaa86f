"""Judge a checkpoint, and the baselines beside it, on records: python scripts/evaluate.py checkpoint=FILE.

A checkpoint that was trained on one of the tasks is refused, unless allow_seen=true. Other suites: models
compares models, losses and splits in one table, transfer says what knowledge of other tasks
is worth on new ones, search compares searches on recorded spaces, recorded_ranking models on recorded GEMM.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.running.interruption import end_quietly_when_interrupted

end_quietly_when_interrupted()

from scripts.options.groups import register_groups
from scripts.running.launch import Run, launch
from scripts.running.outputs import Metrics
from scripts.suites.evaluations import EVALUATIONS, Evaluate
from scripts.suites.names import SUITES_OF


def run(run: Run[Evaluate]) -> Metrics:
    """Run the suite."""
    return EVALUATIONS[run.config.suite](run)


if __name__ == "__main__":
    register_groups()
    launch("evaluate", Evaluate, run, suites=SUITES_OF)
