"""The comparison of models as a table (CSV, Markdown) and as pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple
from pathlib import Path

import numpy as np

from scripts.running.markdown import markdown_table
from scripts.running.outputs import write_rows, write_text
from scripts.suites.models.pictures import draw_curves, draw_table
from scripts.suites.models.row import METRICS, Row, at_largest, learning_curves
from scripts.suites.models.trainings import FailedCell

CEILING = "noise ceiling"


def flat(rows: Sequence[Row], ceilings: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """``<split>_<model>_<loss>_<size>_<metric>`` for ``metrics.json``, and the ceiling of each split."""
    values = {}
    for row in rows:
        name = "_".join([row.split, row.model.replace(" ", "_"), row.loss.replace("-", "none")])
        values.update({f"{name}_{row.num_train}_{metric}": getattr(row, metric) for metric in METRICS})
        if row.coverage is not None:
            values[f"{name}_{row.num_train}_coverage"] = row.coverage
    for split, ceiling in ceilings.items():
        values.update(
            {f"{split}_ceiling_{metric}": ceiling[metric] for metric in METRICS if metric in ceiling}
        )
    return {name: value for name, value in values.items() if np.isfinite(value)}


def write_tables(
    folder: Path,
    rows: Sequence[Row],
    ceilings: Mapping[str, Mapping[str, float]],
    reference: str,
    failed: Sequence[FailedCell],
) -> None:
    """``models.csv``, ``models.md``, ``models.png`` and, for several sizes, ``learning_curves.png``."""
    write_rows(folder / "models.csv", Row, rows)
    failures = markdown_table(FAILED, 3, map(astuple, failed), words=(4,))
    lines = ["## Trainings that failed", "", *failures, ""] if failed else []
    write_text(folder / "models.md", "\n".join([markdown(rows, ceilings, reference), *lines]))
    draw_table(folder / "models.png", rows, ceilings)
    if learning_curves(rows):
        draw_curves(folder / "learning_curves.png", rows, ceilings)


def markdown(rows: Sequence[Row], ceilings: Mapping[str, Mapping[str, float]], reference: str) -> str:
    """Per split a table, the best pairwise accuracy first, one of differences, and the learning curves."""
    lines = []
    for split in dict.fromkeys(row.split for row in rows):
        ranked = ranked_rows(rows, split)
        known = ceilings.get(split, {})
        values = [_number(known[metric], metric) if metric in known else "" for metric in METRICS]
        ceiling = [CEILING, "", "", *values, *[""] * len(EFFORT)]
        lines += [f"## {split}, {ranked[0].num_tasks} tasks", ""]
        lines += [*markdown_table(HEADER, 2, [*map(cells_of, ranked), ceiling]), ""]
        lines += [line for sentence in sentences(ranked) for line in (sentence, "")]
        compared = (row for row in ranked if np.isfinite(row.ahead_pairwise_accuracy))
        if others := [_ahead(row) for row in compared if row is not _reference_of(row, rows, reference)]:
            lines += [
                f"### {split}: ahead of {_reference_label(rows, split, reference)}, task by task",
                "",
                *markdown_table(AHEAD, 2, others),
                "",
            ]
        curves = [
            row for (home, _), points in learning_curves(rows).items() if home == split for row in points
        ]
        if curves:
            lines += [
                f"### {split}: learning curves",
                "",
                *markdown_table(HEADER, 2, map(cells_of, curves)),
                "",
            ]
    return "\n".join(lines)


def ranked_rows(rows: Sequence[Row], split: str) -> list[Row]:
    """What learnt from most, the best pairwise accuracy first."""
    mine = (row for row in at_largest(rows) if row.split == split)
    return sorted(mine, key=lambda row: -row.pairwise_accuracy)


def sentences(rows: Sequence[Row]) -> list[str]:
    """What to know beside the table of a split: of its own intervals, and of those that models give."""
    deviations: dict[str, list[float | None]] = {}
    for row in rows:
        if row.num_train:
            deviations.setdefault(row.kind, []).append(row.seed_deviation)
    missing = [kind for kind, each in deviations.items() if None in each]
    known = {
        kind: max(filter(None, each), default=0.0) for kind, each in deviations.items() if kind not in missing
    }
    words = [f"{deviation:.4f} ({kind})" for kind, deviation in known.items()]
    found = []
    if words:
        found.append(
            "From seed to seed pairwise accuracy has a standard deviation of "
            f"{', '.join(words)}, which the intervals allow for."
        )
    if missing:
        found.append(
            f"The intervals of {' and '.join(missing)} leave out the chance of training, of which one seed "
            "(table.num_seeds) tells nothing."
        )
    return [*found, *_coverage_sentences(rows)]


def _coverage_sentences(rows: Sequence[Row]) -> list[str]:
    known = [(row.label, row.coverage) for row in rows if row.coverage is not None]
    return [
        f"The intervals of {label} hold for {coverage:.3f} of the times (coverage)."
        for label, coverage in known
    ]


RANKED = ["pairwise accuracy", "top-1", "top-5", "Kendall tau", "trials to 95 %"]
EFFORT = ["candidates", "training (CPU s)", "scored per CPU s", "parameters"]
HEADER = ["model", "loss", "seeds", *RANKED, *EFFORT]
AHEAD = ["model", "loss", *RANKED]
FAILED = ["split", "model", "loss", "seed", "why"]


def cells_of(row: Row) -> list[str]:
    """One line of a table for people."""
    ranked = [_with_interval(row, metric) for metric in METRICS]
    num_train = f"{row.num_train:,}" if row.num_train else ""
    effort = [num_train, f"{row.train_cpu_s:.1f}", f"{row.candidates_per_cpu_s:,.0f}"]
    return [row.model, row.loss, str(row.num_seeds), *ranked, *effort, f"{row.num_parameters:,}"]


def screen_header(reference: str) -> list[str]:
    """Of ``screen_cells``."""
    return ["model", "loss", *RANKED, f"pairwise, ahead of {reference}", "training (CPU s)"]


def screen_cells(row: Row) -> list[str]:
    """The same, no wider than a terminal."""
    means = [_number(getattr(row, metric), metric) for metric in METRICS]
    ahead = _signed(row, "pairwise_accuracy") if np.isfinite(row.ahead_pairwise_accuracy) else ""
    return [row.model, row.loss, *means, ahead, f"{row.train_cpu_s:.1f}"]


def _reference_label(rows: Sequence[Row], split: str, reference: str) -> str:
    """Its model and loss."""
    return next((row.label for row in rows if (row.split, row.model) == (split, reference)), reference)


def _reference_of(row: Row, rows: Sequence[Row], reference: str) -> Row | None:
    """What the row is compared with: the reference with the first of its losses, learnt from as much."""
    wanted = (row.split, reference, row.num_train)
    return next((each for each in rows if (each.split, each.model, each.num_train) == wanted), None)


def _with_interval(row: Row, metric: str) -> str:
    value, low, high = (_number(getattr(row, f"{end}{metric}"), metric) for end in ("", "low_", "high_"))
    return f"{value} ({low} to {high})" if np.isfinite(getattr(row, f"low_{metric}")) else value


def _ahead(row: Row) -> list[str]:
    return [row.model, row.loss, *(_signed(row, metric) for metric in METRICS)]


def _signed(row: Row, metric: str) -> str:
    digits = 1 if metric == "trials95" else 3
    values = (getattr(row, f"{end}ahead_{metric}") for end in ("", "low_", "high_"))
    value, low, high = (f"{each:+.{digits}f}" for each in values)
    return f"{value} ({low} to {high})" if np.isfinite(getattr(row, f"low_ahead_{metric}")) else value


def _number(value: float, metric: str) -> str:
    return f"{value:.1f}" if metric == "trials95" else f"{value:.3f}"
