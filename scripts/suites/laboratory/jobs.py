"""A few runs of one search on one recorded space, as one process makes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from scripts.suites.laboratory.contenders import (
    CONTENDERS,
    RANKED_WHOLE,
    SOURCE_ORDER,
    Ground,
    Trials,
    run_contender,
    source_order,
)
from scripts.suites.laboratory.peers import run_peer

CHUNK = 5
"""Runs per job: what a space needs once is built once for them."""


@dataclass(frozen=True)
class Job:
    """Runs ``start`` up to but without ``end`` of one search on one space, ``shown`` under another name."""

    ground: Ground
    search: str
    num_trials: int
    seed: int
    start: int
    end: int
    shown: str | None = None

    @property
    def label(self) -> str:
        return self.shown or self.search

    def key(self) -> dict[str, Any]:
        """All that the outcome depends on, but for the code."""
        key: dict[str, Any] = {"space": self.ground.name, "records": self.ground.table.digest}
        key |= {"search": self.search, "trials": self.num_trials, "seed": self.seed}
        key |= {"start": self.start, "end": self.end}
        if needs_sources(self.search):
            sources = [source.digest for source in self.ground.sources]
            key |= {"sources": sources, "source_records": self.ground.num_source_records}
        return key

    @property
    def is_deterministic(self) -> bool:
        """Whether all runs of the search on the space are the same."""
        is_ranked_whole = len(self.ground.table) <= RANKED_WHOLE
        return self.ground.is_looked_up and is_ranked_whole and _draws_nothing(self.search)

    def run(self) -> list[Trials]:
        torch.set_num_threads(1)
        if self.is_deterministic:
            return [self._run_one(self.start)] * (self.end - self.start)
        return [self._run_one(repeat) for repeat in range(self.start, self.end)]

    def _run_one(self, repeat: int) -> Trials:
        # Seeds of different runs share no bits that a generator could line up with.
        seed = int(np.random.SeedSequence([self.seed, repeat]).generate_state(1)[0])
        if self.search == SOURCE_ORDER:
            return source_order(self.ground, self.num_trials, seed)
        if self.search in CONTENDERS:
            return run_contender(CONTENDERS[self.search], self.ground, self.num_trials, seed)
        return run_peer(self.search, self.ground, self.num_trials, seed)


def chunks(num: int) -> list[tuple[int, int]]:
    """First run of each job, and the one after its last."""
    return [(start, min(start + CHUNK, num)) for start in range(0, num, CHUNK)]


def needs_sources(search: str) -> bool:
    """Whether it has nothing to start from without a source."""
    return search == SOURCE_ORDER or (search in CONTENDERS and CONTENDERS[search].is_pretrained)


def _draws_nothing(search: str) -> bool:
    """Whether all runs on a space are the same, if its sources are looked up and it is ranked whole."""
    if search == SOURCE_ORDER:
        return True
    contender = CONTENDERS.get(search)
    return contender is not None and contender.is_pretrained and contender.model == "gaussian_process"
