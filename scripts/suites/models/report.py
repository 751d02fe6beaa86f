"""The comparison of models as a table (CSV, Markdown) and as pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np

from costmodel.metrics import TaskMetrics, average, bootstrap_intervals
from scripts.running.markdown import markdown_table
from scripts.running.outputs import write_rows, write_text
from scripts.suites.models.pictures import draw_curves, draw_table
from scripts.suites.models.row import METRICS, Row, at_largest, learning_curves
from scripts.suites.models.trainings import Cell, FailedCell

CEILING = "noise ceiling"


def rows_of(cells: Sequence[Cell], reference: str, seed: int) -> list[Row]:
    """A row per split, model, loss and size of the training set, in the order of the cells."""
    groups: dict[tuple[str, str, str, int], list[Cell]] = {}
    for cell in cells:
        groups.setdefault((cell.split, cell.model, cell.loss, cell.num_records), []).append(cell)
    references: dict[tuple[str, int], list[Cell]] = {}
    for (split, model, _, size), same in groups.items():
        if model == reference:
            references.setdefault((split, size), same)
    return [_row(same, references.get((key[0], key[3]), []), seed) for key, same in groups.items()]


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


def ceilings_of(cells: Sequence[Cell]) -> dict[str, Mapping[str, float]]:
    """The noise ceiling of each split, the mean over its parts, as far as candidates were measured twice."""
    known: dict[str, dict[str, list[float]]] = {}
    for cell in cells:
        for metric, value in cell.ceiling.items():
            known.setdefault(cell.split, {}).setdefault(metric, []).append(value)
    return {
        split: {metric: float(np.mean(values)) for metric, values in metrics.items()}
        for split, metrics in known.items()
    }


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
        lines += [line for sentence in coverage_sentences(ranked) for line in (sentence, "")]
        compared = (row for row in ranked if np.isfinite(row.ahead_pairwise_accuracy))
        if others := [_ahead(row) for row in compared if row is not _reference_of(row, rows, reference)]:
            lines += [
                f"### {split}: ahead of {reference}, task by task",
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


def coverage_sentences(rows: Sequence[Row]) -> list[str]:
    """How well the intervals of those models hold that give any."""
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
SCREEN = ["model", "loss", *RANKED, "pairwise, ahead", "training (CPU s)"]


def cells_of(row: Row) -> list[str]:
    """One line of a table for people."""
    ranked = [_with_interval(row, metric) for metric in METRICS]
    num_train = f"{row.num_train:,}" if row.num_train else ""
    effort = [num_train, f"{row.train_cpu_s:.1f}", f"{row.candidates_per_cpu_s:,.0f}"]
    return [row.model, row.loss, str(row.num_seeds), *ranked, *effort, f"{row.num_parameters:,}"]


def screen_cells(row: Row) -> list[str]:
    """The same, no wider than a terminal."""
    means = [_number(getattr(row, metric), metric) for metric in METRICS]
    ahead = _signed(row, "pairwise_accuracy") if np.isfinite(row.ahead_pairwise_accuracy) else ""
    return [row.model, row.loss, *means, ahead, f"{row.train_cpu_s:.1f}"]


def _row(same: Sequence[Cell], reference: Sequence[Cell], seed: int) -> Row:
    tasks = seed_means(same)
    ranked = average(list(tasks.values()))
    groups = {task: group for cell in same for task, group in cell.groups.items()}
    rng = np.random.default_rng(seed)
    intervals = bootstrap_intervals(list(tasks.values()), rng, [groups[task] for task in tasks])
    ahead, ahead_intervals = difference(tasks, seed_means(reference), groups, seed)
    values: dict[str, Any] = {}
    for metric in METRICS:
        values |= _named(metric, ranked[metric], intervals[metric])
        values |= _named(f"ahead_{metric}", ahead[metric], ahead_intervals[metric])
    first, covered = same[0], [cell.coverage for cell in same if cell.coverage is not None]
    return Row(
        split=first.split,
        model=first.model,
        loss=first.loss,
        num_train=round(np.mean([cell.num_train for cell in same])),
        num_seeds=len({cell.seed for cell in same}),
        num_tasks=len(tasks),
        train_s=float(np.mean([cell.train_s for cell in same])),
        train_cpu_s=float(np.mean([cell.train_cpu_s for cell in same])),
        candidates_per_s=float(np.mean([cell.candidates_per_s for cell in same])),
        candidates_per_cpu_s=float(np.mean([cell.candidates_per_cpu_s for cell in same])),
        num_parameters=first.num_parameters,
        coverage=float(np.mean(covered)) if covered else None,
        **values,
    )


def seed_means(cells: Sequence[Cell]) -> dict[str, TaskMetrics]:
    """The metrics of every task, averaged over seeds; the parts of a split have different tasks."""
    names = dict.fromkeys(name for cell in cells for name in cell.tasks)
    return {name: average([cell.tasks[name] for cell in cells if name in cell.tasks]) for name in names}


def difference(
    tasks: Mapping[str, TaskMetrics],
    reference: Mapping[str, TaskMetrics],
    groups: Mapping[str, str],
    seed: int,
) -> tuple[TaskMetrics, dict[str, tuple[float, float]]]:
    """Means and intervals of the differences, task by task, by metric; NaN without a reference.

    Tasks differ more than models do, so these intervals are far narrower than those of the two averages.
    """
    shared = [task for task in tasks if task in reference]
    pairs = [{name: tasks[task][name] - reference[task][name] for name in METRICS} for task in shared]
    if not pairs:
        nan = float("nan")
        return dict.fromkeys(METRICS, nan), dict.fromkeys(METRICS, (nan, nan))
    rng = np.random.default_rng(seed)
    return average(pairs), bootstrap_intervals(pairs, rng, [groups[task] for task in shared])


def _reference_of(row: Row, rows: Sequence[Row], reference: str) -> Row | None:
    """What the row is compared with: the reference with the first of its losses, learnt from as much."""
    wanted = (row.split, reference, row.num_train)
    return next((each for each in rows if (each.split, each.model, each.num_train) == wanted), None)


def _named(name: str, value: float, interval: tuple[float, float]) -> dict[str, float]:
    low, high = interval
    return {name: value, f"low_{name}": low, f"high_{name}": high}


def _with_interval(row: Row, metric: str) -> str:
    value, low, high = (_number(getattr(row, f"{end}{metric}"), metric) for end in ("", "low_", "high_"))
    return f"{value} ({low} to {high})"


def _ahead(row: Row) -> list[str]:
    return [row.model, row.loss, *(_signed(row, metric) for metric in METRICS)]


def _signed(row: Row, metric: str) -> str:
    digits = 1 if metric == "trials95" else 3
    values = (getattr(row, f"{end}ahead_{metric}") for end in ("", "low_", "high_"))
    value, low, high = (f"{each:+.{digits}f}" for each in values)
    return f"{value} ({low} to {high})"


def _number(value: float, metric: str) -> str:
    return f"{value:.1f}" if metric == "trials95" else f"{value:.3f}"
