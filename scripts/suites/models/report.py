"""The comparison of models as a table (CSV, Markdown) and as pictures."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from costmodel.metrics import TaskMetrics, average, bootstrap_intervals
from scripts.running.outputs import write_text
from scripts.running.plotting import pyplot
from scripts.suites.models.trainings import Cell

METRICS = ("pairwise_accuracy", "top1", "top5", "kendall_tau", "trials95")
CEILING = "noise ceiling"


@dataclass(frozen=True)
class Row:
    """One model with one loss on one split, the mean of its seeds; intervals (95 %) are over groups of tasks.

    ``trials95``: candidates measured in the order of its scores until one comes to 95 % of the best known.
    ``ahead``: its pairwise accuracy minus that of the reference on the same tasks. NaN where unknown.
    """

    split: str
    model: str
    loss: str
    num_train: int
    num_seeds: int
    num_tasks: int
    pairwise_accuracy: float
    low_pairwise_accuracy: float
    high_pairwise_accuracy: float
    top1: float
    low_top1: float
    high_top1: float
    top5: float
    low_top5: float
    high_top5: float
    kendall_tau: float
    low_kendall_tau: float
    high_kendall_tau: float
    trials95: float
    low_trials95: float
    high_trials95: float
    ahead: float
    low_ahead: float
    high_ahead: float
    train_s: float
    candidates_per_s: float
    num_parameters: int


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


def write_tables(folder: Path, rows: Sequence[Row], ceilings: Mapping[str, Mapping[str, float]]) -> None:
    """``models.csv``, ``models.md``, ``models.png`` and, for several sizes, ``learning_curves.png``."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([field.name for field in fields(Row)])
    writer.writerows(astuple(row) for row in rows)
    write_text(folder / "models.csv", text.getvalue())
    write_text(folder / "models.md", markdown(rows, ceilings))
    draw_table(folder / "models.png", rows, ceilings)
    if len({row.num_train for row in rows if row.split == rows[0].split}) > 2:
        draw_curves(folder / "learning_curves.png", rows, ceilings)


def markdown(rows: Sequence[Row], ceilings: Mapping[str, Mapping[str, float]]) -> str:
    """A table per split, the best pairwise accuracy first."""
    lines = []
    for split in dict.fromkeys(row.split for row in rows):
        mine = sorted((r for r in rows if r.split == split), key=lambda r: -r.pairwise_accuracy)
        lines += [f"## {split}, {mine[0].num_tasks} tasks", ""]
        lines += [_line(HEADER), _line(["---"] * 4 + ["---:"] * (len(HEADER) - 4))]
        lines += [_line(cells_of(row)) for row in mine]
        known = ceilings.get(split, {})
        values = [_number(known[metric], metric) if metric in known else "" for metric in METRICS]
        lines += [_line([CEILING, "", *values, "", "", "", "", ""]), ""]
    return "\n".join(lines)


HEADER = [
    "model", "loss", "pairwise accuracy", "top-1", "top-5", "Kendall tau", "trials to 95 %",
    "ahead of the reference", "candidates", "training (s)", "scored per s", "parameters",
]  # fmt: skip


def cells_of(row: Row) -> list[str]:
    """One line of a table for people."""
    ranked = [_with_interval(row, metric) for metric in METRICS]
    is_compared = np.isfinite(row.ahead)
    ahead = f"{row.ahead:+.3f} ({row.low_ahead:+.3f} to {row.high_ahead:+.3f})" if is_compared else ""
    effort = [f"{row.num_train:,}", f"{row.train_s:.1f}", f"{row.candidates_per_s:,.0f}"]
    return [row.model, row.loss, *ranked, ahead, *effort, f"{row.num_parameters:,}"]


def draw_table(path: Path, rows: Sequence[Row], ceilings: Mapping[str, Mapping[str, float]]) -> None:
    """Pairwise accuracy with its interval after the longest training, a line per model and loss."""
    plot = pyplot()
    splits = list(dict.fromkeys(row.split for row in rows))
    largest = {(row.split, _label(row)): row for row in sorted(rows, key=lambda row: row.num_train)}
    shown = {split: [row for (home, _), row in largest.items() if home == split] for split in splits}
    height = 1.4 + 0.24 * max(len(lines) for lines in shown.values())
    size = (2.5 + 3.6 * len(splits), height)
    figure, panels = plot.subplots(1, len(splits), figsize=size, squeeze=False, layout="constrained")
    for panel, split in zip(panels[0], splits, strict=True):
        lines = sorted(shown[split], key=lambda row: row.pairwise_accuracy)
        for place, row in enumerate(lines):
            errors = [
                [max(row.pairwise_accuracy - row.low_pairwise_accuracy, 0)],
                [max(row.high_pairwise_accuracy - row.pairwise_accuracy, 0)],
            ]
            panel.errorbar(row.pairwise_accuracy, place, xerr=errors, fmt="o", color="tab:blue", capsize=3)
        if "pairwise_accuracy" in ceilings.get(split, {}):
            panel.axvline(ceilings[split]["pairwise_accuracy"], color="black", linestyle="--", linewidth=0.8)
        panel.set_yticks(range(len(lines)), [_label(row) for row in lines], fontsize=7)
        panel.set(title=split, xlabel="pairwise accuracy (95 % interval; dashed: noise ceiling)")
        panel.grid(axis="x", alpha=0.3)
    figure.savefig(path, dpi=120)
    plot.close(figure)


def draw_curves(path: Path, rows: Sequence[Row], ceilings: Mapping[str, Mapping[str, float]]) -> None:
    """Pairwise accuracy against the number of candidates to learn from, a panel per split."""
    plot = pyplot()
    splits = list(dict.fromkeys(row.split for row in rows))
    size = (4.2 * len(splits), 3.4)
    figure, panels = plot.subplots(1, len(splits), figsize=size, squeeze=False, layout="constrained")
    for panel, split in zip(panels[0], splits, strict=True):
        curves: dict[str, list[Row]] = {}
        for row in sorted(rows, key=lambda row: row.num_train):
            if row.split == split:
                curves.setdefault(_label(row), []).append(row)
        for label, points in curves.items():
            sizes = [row.num_train for row in points]
            if len(points) == 1:  # it learns nothing: the same at every size
                panel.axhline(points[0].pairwise_accuracy, linewidth=0.8, alpha=0.5, label=label)
                continue
            (line,) = panel.plot(sizes, [row.pairwise_accuracy for row in points], "o-", label=label)
            low, high = ([getattr(r, f"{end}_pairwise_accuracy") for r in points] for end in ("low", "high"))
            panel.fill_between(sizes, low, high, color=line.get_color(), alpha=0.15)
        if "pairwise_accuracy" in ceilings.get(split, {}):
            panel.axhline(ceilings[split]["pairwise_accuracy"], color="black", linestyle="--", linewidth=0.8)
        panel.set(title=split, xscale="log", xlabel="candidates to learn from", ylabel="pairwise accuracy")
        panel.legend(fontsize=6)
    figure.savefig(path, dpi=120)
    plot.close(figure)


def _row(same: Sequence[Cell], reference: Sequence[Cell], seed: int) -> Row:
    tasks = seed_means(same)
    ranked = average(list(tasks.values()))
    groups = {task: group for cell in same for task, group in cell.groups.items()}
    rng = np.random.default_rng(seed)
    intervals = bootstrap_intervals(list(tasks.values()), rng, [groups[task] for task in tasks])
    values: dict[str, Any] = {}
    for metric in METRICS:
        low, high = intervals[metric]
        values |= {metric: ranked[metric], f"low_{metric}": low, f"high_{metric}": high}
    first = same[0]
    ahead, (low_ahead, high_ahead) = difference(tasks, seed_means(reference), groups, seed)
    return Row(
        split=first.split,
        model=first.model,
        loss=first.loss,
        num_train=round(np.mean([cell.num_train for cell in same])),
        num_seeds=len({cell.seed for cell in same}),
        num_tasks=len(tasks),
        ahead=ahead,
        low_ahead=low_ahead,
        high_ahead=high_ahead,
        train_s=float(np.mean([cell.train_s for cell in same])),
        candidates_per_s=float(np.mean([cell.candidates_per_s for cell in same])),
        num_parameters=first.num_parameters,
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
) -> tuple[float, tuple[float, float]]:
    """Mean and interval of the difference in pairwise accuracy, task by task; NaN without a reference.

    Tasks differ more than models do, so this interval is far narrower than those of the two averages.
    """
    name = "pairwise_accuracy"
    shared = [task for task in tasks if task in reference]
    pairs = [{name: tasks[task][name] - reference[task][name]} for task in shared]
    if not pairs:
        return float("nan"), (float("nan"), float("nan"))
    rng = np.random.default_rng(seed)
    return average(pairs)[name], bootstrap_intervals(pairs, rng, [groups[task] for task in shared])[name]


def _with_interval(row: Row, metric: str) -> str:
    value, low, high = (_number(getattr(row, f"{end}{metric}"), metric) for end in ("", "low_", "high_"))
    return f"{value} ({low} to {high})"


def _number(value: float, metric: str) -> str:
    return f"{value:.1f}" if metric == "trials95" else f"{value:.3f}"


def _label(row: Row) -> str:
    return row.model if row.loss == "-" else f"{row.model}, {row.loss}"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
