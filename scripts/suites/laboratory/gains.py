"""What pretraining is worth: the pretrained annealer against the same without a source, run by run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scripts.running.markdown import markdown_table
from scripts.suites.laboratory.comparison import Standing
from scripts.suites.laboratory.contenders import DEFAULT, PRETRAINED
from search.scoring import interval

HEADER = ("space", "search", "runs", "score", "gain", "95 % interval")


@dataclass(frozen=True)
class Gain:
    """Mean over runs of the score less that of the run of the same number without a source."""

    space: str
    search: str
    num_runs: int
    score: float
    gain: float
    low: float
    high: float


def gains(standings: Sequence[Standing], rng: np.random.Generator) -> list[Gain]:
    """Space by space, without a source first; no space where either is missing."""
    found = []
    plain = {each.space: each for each in standings if each.search == DEFAULT}
    for space, none in plain.items():
        told = [e for e in standings if e.space == space and e.search.startswith(PRETRAINED)]
        for each in [none, *told] if told else []:
            differences = each.scores - none.scores
            bounds = interval(differences, rng)
            found.append(Gain(space, each.search, len(differences), each.score, differences.mean(), *bounds))
    return found


def shown_gains(found: Sequence[Gain]) -> tuple[list[str], list[list[object]]]:
    """Header and rows of the table."""
    rows: list[list[object]] = []
    for each in found:
        tail = ["", ""]
        if each.search != DEFAULT:
            tail = [f"{each.gain:+.3f}", f"{each.low:+.3f} to {each.high:+.3f}"]
        rows.append([each.space, each.search, each.num_runs, f"{each.score:.3f}", *tail])
    return list(HEADER), rows


def gain_lines(found: Sequence[Gain]) -> list[str]:
    """A section of Markdown; none without gains."""
    if not found:
        return []
    header, rows = shown_gains(found)
    return ["## Pretraining against none, run by run", "", *markdown_table(header, 2, rows), ""]
