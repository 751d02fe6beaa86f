"""How the searches stand, as tables: all spaces in one, and one per space with intervals and significance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass

import numpy as np

from scripts.running.markdown import markdown_table
from scripts.suites.laboratory.comparison import Standing
from scripts.suites.laboratory.contenders import DEFAULT
from search.scoring import chance_of_no_lead, interval

HEADER = ("search", "runs", "score", "95 % interval", "to 95 % of random", "p")
DETERMINISTIC = "deterministic"
LEGEND = (
    "Scores are 0 for random search and 1 for the optimum at once. The mean is over the spaces that are\n"
    'not flat; "(8 of 11)" says that the search was run on eight of eleven. *p* is how likely so large a\n'
    f"lead of `{DEFAULT}` is between equal searches; `{DETERMINISTIC}` is a search whose runs are all the\n"
    "same, which leaves nothing to chance."
)


def mean_score(standings: Sequence[Standing], search: str) -> float:
    """Over the spaces that the search was run on."""
    return float(np.mean([each.score for each in standings if each.search == search]))


def score_rows(standings: Sequence[Standing]) -> tuple[list[str], list[list[object]]]:
    """Header and rows of the table: a search a row, a space a column, the mean of those not flat last.

    The mean of a search that was not run on all of them says on how many.
    """
    spaces = list(dict.fromkeys(each.space for each in standings))
    scores = {(each.space, each.search): each.score for each in standings}
    told = [each for each in standings if not each.is_flat]
    rows: list[list[object]] = []
    for search in dict.fromkeys(each.search for each in standings):
        known = [scores.get((space, search)) for space in spaces]
        row = ["" if score is None else round(score, 3) for score in known]
        rows.append([search, *row, _mean_cell(told, search)])
    return ["search", *spaces, "mean"], rows


def _mean_cell(told: Sequence[Standing], search: str) -> object:
    num, num_spaces = sum(each.search == search for each in told), len({each.space for each in told})
    if not num:
        return ""
    mean = mean_score(told, search)
    return round(mean, 3) if num == num_spaces else f"{mean:.3f} ({num} of {num_spaces})"


@dataclass(frozen=True)
class Verdict:
    """A row of the tables. ``chance`` is that of so large a lead of the default between equal searches.

    There is none of the default itself, and none of a search whose runs are all the same.
    """

    space: str
    search: str
    num_runs: int
    score: float
    low: float
    high: float
    budget_score: float
    chance: float | None
    is_flat: bool
    is_deterministic: bool


def verdicts(standings: Sequence[Standing], rng: np.random.Generator) -> list[Verdict]:
    """Space by space, best first."""
    found = []
    for space in dict.fromkeys(each.space for each in standings):
        here = sorted((each for each in standings if each.space == space), key=lambda each: -each.score)
        ours = next((each for each in here if each.search == DEFAULT), None)
        for each in here:
            is_rival = each is not ours and not each.is_deterministic
            found.append(
                Verdict(
                    space,
                    each.search,
                    len(each.scores),
                    each.score,
                    *interval(each.scores, rng),
                    float(each.budget_scores.mean()),
                    chance_of_no_lead(ours.scores, each.scores, rng) if ours and is_rival else None,
                    each.is_flat,
                    each.is_deterministic,
                )
            )
    return found


def markdown(standings: Sequence[Standing], told: Sequence[Verdict]) -> str:
    """All scores in one table, a search a row; then a table per space with intervals and chances."""
    header, rows = score_rows(standings)
    lines = ["## All spaces", "", *markdown_table(header, 1, rows), "", LEGEND, ""]
    for space in dict.fromkeys(each.space for each in told):
        here = [each for each in told if each.space == space]
        lines += [f"## {space}{', flat' if here[0].is_flat else ''}", ""]
        lines += [*markdown_table(HEADER, 1, map(_shown, here), words=(3,)), ""]
    return "\n".join(lines)


def _shown(verdict: Verdict) -> list[object]:
    chance = "" if verdict.chance is None else f"{verdict.chance:.4f}"
    chance = DETERMINISTIC if verdict.is_deterministic else chance
    interval = f"{verdict.low:.3f} to {verdict.high:.3f}"
    scores = [f"{verdict.score:.3f}", interval, f"{verdict.budget_score:.3f}"]
    return [verdict.search, verdict.num_runs, *scores, chance]


def cells(verdict: Verdict) -> list[object]:
    """As CSV."""
    values = astuple(verdict)
    return [
        "" if value is None else round(value, 4) if isinstance(value, float) else value for value in values
    ]
