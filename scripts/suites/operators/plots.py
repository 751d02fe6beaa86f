"""The operators' table as pictures: the ratio to the best library, and a roofline."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from scripts.running.plotting import pyplot
from scripts.suites.operators.standings import Standing, best_ceilings


def draw_ratios(path: Path, standings: Sequence[Standing]) -> None:
    """Best library's time over ours with its 95 % interval, one workload a line, on a log axis."""
    plot = pyplot()
    compared = [(each.name, each.ratio) for each in standings if each.ratio]
    figure, panel = plot.subplots(figsize=(7, 1.2 + 0.24 * len(compared)), layout="constrained")
    for line, (_, ratio) in enumerate(compared):
        errors = [[ratio.value - min(ratio.low, ratio.value)], [max(ratio.high, ratio.value) - ratio.value]]
        colour = "tab:green" if ratio.low > 1 else "tab:red" if ratio.high < 1 else "tab:gray"
        panel.errorbar(ratio.value, line, xerr=errors, fmt="o", color=colour, capsize=3, markersize=4)
    panel.axvline(1.0, color="black", linewidth=0.8)
    panel.set(
        xscale="log",
        xlabel="times as fast as the best library (95 % interval)",
        ylim=(len(compared) - 0.5, -0.5),
    )
    ends = [end for _, ratio in compared for end in (ratio.low, ratio.high, 1.0)]
    ticks = [t for t in (0.1, 0.25, 0.5, 0.7, 0.85, 1, 1.2, 1.5, 2, 3, 5, 10, 20) if _within(t, ends)]
    panel.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    panel.minorticks_off()
    panel.set_yticks(range(len(compared)), [name for name, _ in compared])
    panel.grid(axis="x", alpha=0.3)
    figure.savefig(path, dpi=120)
    plot.close(figure)


def draw_roofline(path: Path, standings: Sequence[Standing]) -> None:
    """Operations per byte against GFLOP/s, ours and the best library's, under the measured roofs."""
    plot = pyplot()
    ceilings = best_ceilings(each.ceilings for each in standings)
    figure, panel = plot.subplots(figsize=(7, 5), layout="constrained")
    intensities = np.array([each.intensity for each in standings])
    reach = np.geomspace(intensities.min() / 2, intensities.max() * 2, 200)
    roof = np.minimum(ceilings.peak_gflops, reach * ceilings.bandwidth_gb_s)
    roofs = f"{ceilings.peak_gflops:.0f} GFLOP/s, {ceilings.bandwidth_gb_s:.1f} GB/s"
    panel.plot(reach, roof, color="black", linewidth=1, label=f"measured: {roofs}")
    panel.plot(intensities, [each.gflops for each in standings], "o", label="looprank")
    best = [
        (each.intensity, each.flops / each.libraries[each.ratio.rival].median_s / 1e9)
        for each in standings
        if each.ratio
    ]
    if best:
        panel.plot(*zip(*best), "x", color="tab:orange", label="best library")
    for each in standings:
        name = each.name.split("_", 1)[-1]  # without the network or the operator
        panel.annotate(
            name, (each.intensity, each.gflops), fontsize=6, textcoords="offset points", xytext=(4, 3)
        )
    panel.set(xscale="log", yscale="log", xlabel="operations per byte", ylabel="GFLOP/s")
    panel.legend(loc="lower right", fontsize=8)
    panel.grid(alpha=0.3)
    figure.savefig(path, dpi=120)
    plot.close(figure)


def _within(tick: float, ends: Sequence[float]) -> bool:
    return min(ends) / 1.3 <= tick <= max(ends) * 1.3
