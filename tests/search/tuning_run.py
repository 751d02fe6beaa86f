"""A complete small tuning run with a journal: for the tests in this process, and one that is killed.

As a program: ``python tuning_run.py JOURNAL VARIANT``.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from search.annealer import AnnealConfig, Annealer
from search.arms import PlanConfig
from search.genetic import GeneticConfig, GeneticSearch
from search.journal import open_journal
from search.known import Known
from search.protocols import Searcher
from search.random_search import draw_distinct
from search.trials import TuneConfig
from search.tuner import TuneResult, tune
from tests.search.spaces import KnobSpace, LinearModel, RuggedMeasurer

IDENTITY = {"space": "two sketches", "seed": 11, "config": {"num_trials": 44}}
CONFIG = TuneConfig(
    num_trials=44, plan=PlanConfig(num_trials=10, epsilon=0.1, control_share=0.1), stop_gain=0.0
)
VARIANTS = ("in turn", "ahead", "ahead without a model", "in turn, some known", "ahead, some known")
"""When plans are made; the third by a searcher that learns from outcomes itself."""


def known_outcomes() -> Known:
    """A dozen points of the space, with their times and failures."""
    space = KnobSpace()
    candidates = draw_distinct(space, 12, space.enumerate(1)[:0].keys(), np.random.default_rng(5))
    outcomes = RuggedMeasurer().measure(candidates)
    return Known(candidates, np.array([np.nan if each.failure else each.latency_s for each in outcomes]))


def tuning_run(path: Path, measurer: RuggedMeasurer, model: LinearModel, variant: str) -> TuneResult:
    space = KnobSpace()
    is_guided, is_ahead = "without" not in variant, "ahead" in variant
    known = known_outcomes() if "known" in variant else None
    searcher: Searcher = Annealer(space, model, AnnealConfig(num_chains=16, num_steps=15))
    if not is_guided:
        searcher = GeneticSearch(space, GeneticConfig(population=6))
    config = replace(CONFIG, plan=replace(CONFIG.plan, is_ahead=is_ahead))
    rng = np.random.default_rng(11)
    with open_journal(path, IDENTITY) as journal:
        asked = model if is_guided else None
        return tune(space, searcher, measurer, asked, config, rng, journal, known=known)


if __name__ == "__main__":
    tuning_run(Path(sys.argv[1]), RuggedMeasurer(), LinearModel(), sys.argv[2])
