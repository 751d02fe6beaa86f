"""The comparison of models as pictures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from scripts.running.plotting import pyplot
from scripts.suites.models.row import Row, at_largest, learning_curves

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Ceilings = Mapping[str, Mapping[str, float]]

REACH = 0.15
"""How far below the best of a split the axis goes at most: more would hide the differences of good models."""


def draw_table(path: Path, rows: Sequence[Row], ceilings: Ceilings) -> None:
    """Pairwise accuracy with its interval after the longest training, a line per model and loss.

    What was judged on tasks without pairs has none, and no line; without any line there is no picture.
    """
    rows = [row for row in rows if math.isfinite(row.pairwise_accuracy)]
    if not rows:
        path.unlink(missing_ok=True)  # of an earlier table
        return
    plot = pyplot()
    splits = list(dict.fromkeys(row.split for row in rows))
    shown = {split: [row for row in at_largest(rows) if row.split == split] for split in splits}
    height = 1.4 + 0.24 * max(len(lines) for lines in shown.values())
    size = (2.5 + 3.6 * len(splits), height)
    figure, panels = plot.subplots(1, len(splits), figsize=size, squeeze=False, layout="constrained")
    for panel, split in zip(panels[0], splits, strict=True):
        draw_split(panel, shown[split], ceilings.get(split, {}).get("pairwise_accuracy"))
        panel.set(title=split)
    figure.supxlabel(
        "pairwise accuracy, 95 % interval; dashed: noise ceiling; arrows: further to the left", fontsize=9
    )
    figure.savefig(path, dpi=120)
    plot.close(figure)


def draw_split(panel: Axes, rows: Sequence[Row], ceiling: float | None) -> None:
    """A line per row, the best on top, on an axis that shows how those differ that have learnt something.

    What lies left of it is an arrow with its value.
    """
    lines = sorted(rows, key=lambda row: row.pairwise_accuracy)
    left, right = _bounds(lines, ceiling)
    for place, row in enumerate(lines):
        value, (low, high) = row.pairwise_accuracy, _ends(row)
        if value < left:
            panel.plot(left, place, "<", color="tab:gray", clip_on=False)
            panel.annotate(
                f"{value:.3f}", (left, place), (8, 0), textcoords="offset points", va="center", fontsize=7
            )
        else:
            errors = [[max(value - low, 0)], [max(high - value, 0)]]
            panel.errorbar(value, place, xerr=errors, fmt="o", color="tab:blue", capsize=3)
    if ceiling is not None:
        panel.axvline(ceiling, color="black", linestyle="--", linewidth=0.8)
    panel.set_xlim(left, right)
    panel.set_yticks(range(len(lines)), [row.label for row in lines], fontsize=7)
    panel.grid(axis="x", alpha=0.3)


def _bounds(rows: Sequence[Row], ceiling: float | None) -> tuple[float, float]:
    """Of the axis: the intervals of what has learnt, or of all if nothing has, no further than ``REACH``."""
    learnt = [row for row in rows if row.num_train] or rows
    lowest = min(_ends(row)[0] for row in learnt)
    highest = max([_ends(row)[1] for row in rows] + ([] if ceiling is None else [ceiling]))
    left = max(lowest, max(row.pairwise_accuracy for row in rows) - REACH)
    margin = 0.05 * (highest - left) + 1e-3
    return left - margin, highest + margin


def _ends(row: Row) -> tuple[float, float]:
    """Of the interval; of what has none, tasks of a single program, the value twice."""
    value, low, high = row.pairwise_accuracy, row.low_pairwise_accuracy, row.high_pairwise_accuracy
    return (low, high) if math.isfinite(low) else (value, value)


def draw_curves(path: Path, rows: Sequence[Row], ceilings: Ceilings) -> None:
    """Pairwise accuracy against the number of candidates to learn from, a panel per split with curves."""
    curves = learning_curves(rows)
    plot = pyplot()
    splits = list(dict.fromkeys(split for split, _ in curves))
    size = (4.2 * len(splits), 3.4)
    figure, panels = plot.subplots(1, len(splits), figsize=size, squeeze=False, layout="constrained")
    for panel, split in zip(panels[0], splits, strict=True):
        for (home, label), points in curves.items():
            if home != split:
                continue
            sizes = [row.num_train for row in points]
            (line,) = panel.plot(sizes, [row.pairwise_accuracy for row in points], "o-", label=label)
            low, high = zip(*map(_ends, points), strict=True)
            panel.fill_between(sizes, low, high, color=line.get_color(), alpha=0.15)
        if "pairwise_accuracy" in ceilings.get(split, {}):
            panel.axhline(ceilings[split]["pairwise_accuracy"], color="black", linestyle="--", linewidth=0.8)
        panel.set(title=split, xscale="log", xlabel="candidates to learn from", ylabel="pairwise accuracy")
        panel.legend(fontsize=6)
    figure.savefig(path, dpi=120)
    plot.close(figure)
