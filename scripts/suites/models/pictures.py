"""The comparison of models as pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from scripts.running.plotting import pyplot
from scripts.suites.models.row import Row, at_largest, learning_curves

Ceilings = Mapping[str, Mapping[str, float]]


def draw_table(path: Path, rows: Sequence[Row], ceilings: Ceilings) -> None:
    """Pairwise accuracy with its interval after the longest training, a line per model and loss."""
    plot = pyplot()
    splits = list(dict.fromkeys(row.split for row in rows))
    shown = {split: [row for row in at_largest(rows) if row.split == split] for split in splits}
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
        panel.set_yticks(range(len(lines)), [row.label for row in lines], fontsize=7)
        panel.set(title=split)
        panel.grid(axis="x", alpha=0.3)
    figure.supxlabel("pairwise accuracy, 95 % interval; dashed: noise ceiling", fontsize=9)
    figure.savefig(path, dpi=120)
    plot.close(figure)


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
            low, high = ([getattr(r, f"{end}_pairwise_accuracy") for r in points] for end in ("low", "high"))
            panel.fill_between(sizes, low, high, color=line.get_color(), alpha=0.15)
        if "pairwise_accuracy" in ceilings.get(split, {}):
            panel.axhline(ceilings[split]["pairwise_accuracy"], color="black", linestyle="--", linewidth=0.8)
        panel.set(title=split, xscale="log", xlabel="candidates to learn from", ylabel="pairwise accuracy")
        panel.legend(fontsize=6)
    figure.savefig(path, dpi=120)
    plot.close(figure)
