"""What the comparison in the tuner leaves: tables as CSV and Markdown, a plot, flat metrics."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from scripts.running.markdown import markdown_table
from scripts.running.outputs import write_text
from scripts.running.plotting import pyplot
from scripts.suites.end_use.retiming import CONTENDING
from scripts.suites.end_use.standings import Estimate, Standing, WorkloadRuns
from search.curves import median_band

Row = Sequence[object]
MAX_BANDS = 6
NUM_COLOURS = 10
"""In Matplotlib's cycle; the next contenders have another of ``LINE_STYLES``."""

LINE_STYLES = ("-", "--", "-.")
CURVE_COLUMNS = ("workload", "contender", "seed", "trial", "best_latency_s", "elapsed_s")


def speed_rows(runs: Sequence[WorkloadRuns], trial: int) -> tuple[list[str], list[Row]]:
    """Header and rows: a contender a row, its mean share of the best speed after a trial, by workload."""
    rows: list[Row] = [
        (name, *(f"{each.speeds(name, trial).mean():.2f}" for each in runs)) for name in runs[0].curves
    ]
    return [f"speed after {trial}", *(each.workload for each in runs)], rows


def trial_rows(runs: Sequence[WorkloadRuns]) -> tuple[list[str], list[Row]]:
    """Header and rows: a contender a row, its mean trials by workload; ``>`` marks a bound."""
    rows: list[Row] = [(name, *(_mean_trials(each, name) for each in runs)) for name in runs[0].curves]
    return ["trials to 95 %", *(each.workload for each in runs)], rows


def timing_rows(runs: Sequence[WorkloadRuns]) -> tuple[list[str], list[Row]]:
    """Header and rows: a workload a row, the best known time and of what sittings it is."""
    rows: list[Row] = [
        (
            each.workload,
            f"{1e3 * each.best_s:.4g}",
            each.num_sittings,
            f"{1e9 * each.exchange_s:.0f}" if np.isfinite(each.exchange_s) else "?",
            *(_percent(deviation) for deviation in (each.scatter, each.scatter / each.num_sittings**0.5)),
        )
        for each in runs
    ]
    return ["workload", "best, ms", "sittings", "exchange, ns", "scatter", "of a mean"], rows


def standing_rows(standings: Sequence[Standing], reference: str) -> tuple[list[str], list[Row]]:
    """Header and rows: a contender a row, means over workloads and seeds, with 95 % intervals if it can."""
    after = [f"speed after {trial}" for trial in standings[0].speeds]
    needed = ["trials to 95 %", "seconds to 95 %", f"trials of {reference} / its", "got there"]
    rows: list[Row] = [
        (
            each.name,
            *(_shown(speed, 2) for speed in each.speeds.values()),
            _shown(each.trials, 1),
            _shown(each.seconds, 1),
            _shown(each.saving, 2),
            f"{each.share_reached:.0%}",
        )
        for each in standings
    ]
    return ["contender", *after, *needed], rows


def end_use_metrics(
    runs: Sequence[WorkloadRuns], standings: Sequence[Standing]
) -> dict[str, float | int | str]:
    """``<workload>_<contender>_trials95`` and, over all workloads, speeds, trials, seconds, saving, share."""
    metrics: dict[str, float | int | str] = {
        f"{each.workload}_{name}_trials95": float(each.trials_needed(name).mean())
        for each in runs
        for name in each.curves
    }
    for standing in standings:
        metrics |= {f"{standing.name}_speed{trial}": each.mean for trial, each in standing.speeds.items()}
        metrics[f"{standing.name}_trials95"] = standing.trials.mean
        metrics[f"{standing.name}_seconds95"] = standing.seconds.mean
        metrics[f"{standing.name}_saving"] = standing.saving.mean
        metrics[f"{standing.name}_share_reached"] = standing.share_reached
    return metrics


def write_page(path: Path, tables: Sequence[tuple[Sequence[str], Sequence[Row]]], num_seeds: int) -> None:
    """The tables as Markdown, and what their times and intervals are."""
    blocks = ["\n".join(markdown_table(header, len(header), rows)) for header, rows in tables]
    blocks.append(
        "Speeds are shares of the best known. Times are geometric means over the sittings that found the "
        "cores near, or the nearest if none did; what took more than "
        f"{CONTENDING:g} times the best trial has the time of its trial. *Exchange*: how far apart the cores "
        "were at most; *scatter*: standard deviation of a time between sittings, beyond what all times of a "
        "sitting share, and that of a mean. The best known is the least of many means, and may be too fast "
        "by one or two such deviations."
    )
    if num_seeds > 1:
        blocks.append(
            f"Intervals of 95 % by Student's t over {num_seeds} seeds, each a training of every model and a "
            "search on every workload; errors of the timing are not in them."
        )
    write_text(path, "\n\n".join(blocks) + "\n")


def write_curves(path: Path, runs: Sequence[WorkloadRuns]) -> None:
    """A row where what a run would deliver changes and one at its end; empty while there is nothing."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CURVE_COLUMNS)
    for each in runs:
        for name, curves in each.curves.items():
            for seed, (curve, elapsed_s) in enumerate(zip(curves, each.elapsed_s[name], strict=True)):
                changes = np.flatnonzero(np.diff(np.nan_to_num(curve), prepend=-1.0))
                for at in sorted({*changes.tolist(), len(curve) - 1}):
                    best_s = "" if np.isnan(curve[at]) else f"{curve[at]:.6g}"
                    writer.writerow([each.workload, name, seed, at + 1, best_s, f"{elapsed_s[at]:.3f}"])
    write_text(path, text.getvalue())


def draw(path: Path, runs: Sequence[WorkloadRuns], flops: Callable[[str], int]) -> None:
    """One panel per workload: GFLOP/s of what would be delivered, median of the seeds.

    Where there are no more than ``MAX_BANDS`` contenders, with quartiles; more of them would hide each other.
    """
    plot = pyplot()
    columns = min(4, len(runs))
    lines = -(-len(runs) // columns)
    figure, panels = plot.subplots(
        lines, columns, figsize=(3.4 * columns, 2.8 * lines + 0.5), squeeze=False, layout="constrained"
    )
    for panel in panels.flat[len(runs) :]:
        panel.set_axis_off()
    for panel, each in zip(panels.flat, runs, strict=False):
        _draw_workload(panel, each, flops(each.workload) / 1e9)
    for panel in panels[-1]:
        panel.set_xlabel("trials")
    for row in panels:
        row[0].set_ylabel("GFLOP/s if it ended there")
    figure.legend(
        *panels[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=7, fontsize="small"
    )
    figure.savefig(path, dpi=150)
    plot.close(figure)


def _draw_workload(panel: Any, runs: WorkloadRuns, gflop: float) -> None:
    for number, (name, curves) in enumerate(runs.curves.items()):
        band = median_band(curves)
        trials = np.arange(1, curves.shape[1] + 1)
        style = LINE_STYLES[number // NUM_COLOURS % len(LINE_STYLES)]
        (line,) = panel.plot(trials, gflop / band.median, style, label=name, linewidth=1)
        if len(runs.curves) <= MAX_BANDS:
            panel.fill_between(
                trials, gflop / band.high, gflop / band.low, color=line.get_color(), alpha=0.15
            )
    panel.axhline(gflop / runs.best_s, color="grey", linewidth=0.8, linestyle=":")
    panel.set(title=runs.workload, xscale="log", ylim=(0, None))


def _shown(estimate: Estimate, digits: int) -> str:
    if np.isnan(estimate.low):
        return f"{estimate.mean:.{digits}f}"
    return f"{estimate.mean:.{digits}f} ({estimate.low:.{digits}f} to {estimate.high:.{digits}f})"


def _percent(value: float) -> str:
    return "?" if np.isnan(value) else f"{value:.1%}"


def _mean_trials(runs: WorkloadRuns, name: str) -> str:
    is_bound = not runs.is_reached(name).all()
    return f"{'> ' if is_bound else ''}{runs.trials_needed(name).mean():.1f}"
