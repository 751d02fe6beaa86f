"""A complete small tuning run with a journal: for the tests in this process, and one that is killed.

As a program: ``python tuning_run.py JOURNAL``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from search.annealer import AnnealConfig, Annealer
from search.arms import PlanConfig
from search.journal import open_journal
from search.tuner import TuneConfig, TuneResult, tune
from tests.search.spaces import KnobSpace, LinearModel, RuggedMeasurer

IDENTITY = {"space": "two sketches", "seed": 11, "config": {"num_trials": 44}}
CONFIG = TuneConfig(
    num_trials=44, plan=PlanConfig(num_trials=10, epsilon=0.1, control_share=0.1), stop_gain=0.0
)


def tuning_run(path: Path, measurer: RuggedMeasurer, model: LinearModel) -> TuneResult:
    space = KnobSpace()
    searcher = Annealer(space, model, AnnealConfig(num_chains=16, num_steps=15))
    with open_journal(path, IDENTITY) as journal:
        return tune(space, searcher, measurer, model, CONFIG, np.random.default_rng(11), journal)


if __name__ == "__main__":
    tuning_run(Path(sys.argv[1]), RuggedMeasurer(), LinearModel())
