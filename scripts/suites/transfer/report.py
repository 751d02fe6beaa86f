"""What ``evaluate.py suite=transfer`` tells: means of the ways, and where knowledge of others hurts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from scripts.running.markdown import markdown_table
from scripts.running.outputs import write_rows, write_text
from scripts.running.plotting import pyplot
from scripts.suites.transfer.outcomes import TAUGHT, WAYS, Outcome
from scripts.suites.transfer.standings import Harm, Standing

HEADER = ["measured", "way", "tasks", "pairwise accuracy", "hurt"]
NUM_NAMED = 5
"""Cases of harm of each way that the report names; the file has all."""


def write_transfer(
    folder: Path, outcomes: Sequence[Outcome], standings: Sequence[Standing], hurt: Sequence[Harm]
) -> None:
    """``transfer.csv`` with every outcome, ``harm.csv``, ``transfer.md`` and ``transfer.png``."""
    write_rows(folder / "transfer.csv", Outcome, outcomes)
    write_rows(folder / "harm.csv", Harm, hurt)
    lines = markdown_table(HEADER, 0, map(cells_of, standings), words=(1, 3))
    for sentence, named in harm_of_ways(outcomes, hurt):
        lines += ["", sentence, *([""] if named else []), *(f"- {case}" for case in named)]
    write_text(folder / "transfer.md", "\n".join([*lines, ""]))
    _draw(folder / "transfer.png", standings)


def cells_of(standing: Standing) -> tuple[str, ...]:
    """One line of the table."""
    accuracy = f"{standing.accuracy:.3f} ({standing.low:.3f} to {standing.high:.3f})"
    hurt = "" if standing.num_hurt is None else str(standing.num_hurt)
    return str(standing.num_measured), standing.way, str(standing.num_tasks), accuracy, hurt


def harm_of_ways(outcomes: Sequence[Outcome], hurt: Sequence[Harm]) -> list[tuple[str, list[str]]]:
    """When transfer hurts, in words: by way a sentence, and the worst cases."""
    num = len({(each.task, each.num_measured) for each in outcomes})
    found = []
    for way in TAUGHT:
        mine = [harm for harm in hurt if harm.way == way]
        cases = [
            f"{each.task} after {each.num_measured} measurements: "
            f"local {each.local:.3f}, {way} {each.taught:.3f}"
            for each in mine[:NUM_NAMED]
        ]
        sentence = (
            f"{way} ranks worse than local beyond chance in {len(mine)} of {num} cases, a task with a number "
            f"of measurements each{_listed(len(mine))}"
        )
        found.append((sentence, cases))
    return found


def _listed(num_hurt: int) -> str:
    if not num_hurt:
        return "."
    return ":" if num_hurt <= NUM_NAMED else f"; the worst (harm.csv has all {num_hurt}):"


def _draw(path: Path, standings: Sequence[Standing]) -> None:
    plot = pyplot()
    figure, panel = plot.subplots(figsize=(5, 3.6), layout="constrained")
    for way in WAYS:
        mine = [each for each in standings if each.way == way]
        means = np.array([each.accuracy for each in mine])
        errors = [means - [each.low for each in mine], np.array([each.high for each in mine]) - means]
        sizes = [each.num_measured for each in mine]
        panel.errorbar(sizes, means, yerr=np.maximum(errors, 0), fmt="o-", capsize=3, label=way)
    panel.set(xscale="log", xlabel="measurements of the new task", ylabel="pairwise accuracy on the rest")
    panel.legend()
    figure.savefig(path, dpi=120)
    plot.close(figure)
