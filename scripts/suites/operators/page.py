"""The operators' table for people: on the terminal, and as the page beside stored results."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from codegen.target import Target
from scripts.running.display import show_table
from scripts.running.markdown import markdown_table
from scripts.suites.operators.standings import BESIDE, Interval, Standing, standing_metrics
from scripts.suites.operators.table_file import libraries_of

Rows = list[tuple[str, ...]]

AIM_VS_BEST = 0.95
AIM_SHARE = 0.85


def show_standings(title: str, standings: Sequence[Standing]) -> None:
    """One table of all workloads, with what fits on a line; the page has more."""
    columns, rows = table_of(standings)
    kept = [number for number, column in enumerate(columns) if column not in ("sketch", "trials")]
    shown = [[row[number].split(" ±")[0] if number > 1 else row[number] for number in kept] for row in rows]
    show_table(f"{title}, times in us", [columns[number].removesuffix(", us") for number in kept], shown)


def table_of(standings: Sequence[Standing]) -> tuple[list[str], Rows]:
    """Columns and rows of text; what a workload lacks is empty."""
    libraries = libraries_of(standings)
    columns = ["workload", "ours, us", *(f"{who}, us" for who in libraries), "best / ours"]
    columns += ["GFLOP/s", "FMA peak", "bandwidth", "roof", "correct", "sketch", "trials"]
    rows = []
    for each in standings:
        times = [each.ours, *(each.libraries.get(who) for who in libraries)]
        ratio = each.ratio
        row = [each.name, *(_microseconds(interval) for interval in times)]
        row += [f"{ratio.value:.3f} ({ratio.low:.3f} to {ratio.high:.3f})" if ratio else ""]
        row += [
            f"{each.gflops:.1f}",
            f"{each.share_of_peak:.1%}",
            f"{each.share_of_bandwidth:.1%}",
            each.bound,
        ]
        row += ["yes" if each.is_correct else "NO", each.sketch, str(each.trials)]
        rows.append(tuple(row))
    return columns, rows


def neighbours_table(standings: Sequence[Standing], neighbours: Mapping[str, str]) -> tuple[list[str], Rows]:
    """Efficiency of each awkward shape over that of its round neighbour."""
    by_name = {each.name: each for each in standings}
    rows: Rows = []
    for name, ratio in neighbour_ratios(standings, neighbours).items():
        other = neighbours[name]
        speeds = (f"{by_name[which].gflops:.1f}" for which in (name, other))
        rows.append((name, other, *speeds, f"{ratio:.3f}"))
    return ["shape", "round neighbour", "GFLOP/s", "neighbour's GFLOP/s", "share of it"], rows


def neighbour_ratios(standings: Sequence[Standing], neighbours: Mapping[str, str]) -> dict[str, float]:
    """GFLOP/s of each awkward shape over those of its neighbour, where both were timed."""
    speeds = {each.name: each.gflops for each in standings}
    return {
        name: speeds[name] / speeds[other]
        for name, other in neighbours.items()
        if name in speeds and other in speeds
    }


def neighbour_metrics(
    standings: Sequence[Standing], neighbours: Mapping[str, str]
) -> dict[str, float | int | str]:
    """``<shape>_vs_neighbour`` of each pair, their geometric mean and the worst."""
    ratios = neighbour_ratios(standings, neighbours)
    values: dict[str, float | int | str] = {f"{name}_vs_neighbour": ratio for name, ratio in ratios.items()}
    if ratios:
        worst = min(ratios, key=lambda name: ratios[name])
        values["geomean_vs_neighbour"] = math.exp(sum(map(math.log, ratios.values())) / len(ratios))
        values |= {"worst_vs_neighbour": ratios[worst], "worst_neighbour_name": worst}
    return values


def below_aim(standings: Sequence[Standing], neighbours: Mapping[str, str]) -> list[str]:
    """A phrase for each aim that a row misses: 0.95 of the best library, 85 % of a roof or of a neighbour.

    Only the FMA roof counts: operands that stay in caches say nothing of the memory.
    """
    phrases = []
    for each in standings:
        if each.ratio and each.ratio.value < AIM_VS_BEST:
            phrases.append(f"{each.name}: {each.ratio.value:.3f} of the speed of {each.ratio.rival}")
        if each.bound == "FMA" and each.share_of_peak < AIM_SHARE:
            phrases.append(f"{each.name}: {each.share_of_peak:.1%} of the FMA peak")
    for name, ratio in neighbour_ratios(standings, neighbours).items():
        if ratio < AIM_SHARE:
            phrases.append(f"{name}: {ratio:.3f} of the efficiency of {neighbours[name]}")
    return phrases


def page_of(target: Target, suites: Mapping[str, Sequence[Standing]], neighbours: Mapping[str, str]) -> str:
    """The page of a target's stored results, a part for each suite."""
    parts = [
        f"# Tuned operators on {target.name}",
        f"Target `{target.fingerprint}`. Written by `python scripts/benchmark.py suite={'|'.join(suites)} "
        "kernels.store=all` (or `kernels.store=better`); made again from `winners.json`, without tuning, by "
        "the same command with `kernels.tuned=stored`. `docs/operators.md` says what the columns mean.",
    ]
    for suite, standings in suites.items():
        parts += [f"## suite={suite}", _summary(standings), markdown(*table_of(standings))]
        if neighbour_ratios(standings, neighbours):
            parts.append(markdown(*neighbours_table(standings, neighbours)))
        missed = below_aim(standings, neighbours)
        parts.append("Below the aim: " + ("; ".join(missed) or "nothing") + ".")
        parts.append(f"![best library's time over ours, by workload]({suite}_ratios.png)")
        parts.append(f"![GFLOP/s by operations per byte, under the measured roofs]({suite}_roofline.png)")
    return "\n\n".join(parts) + "\n"


def markdown(columns: Sequence[str], rows: Rows) -> str:
    """A table; every column but the first is set to the right."""
    return "\n".join(markdown_table(columns, 1, rows))


def _summary(standings: Sequence[Standing]) -> str:
    values = standing_metrics(standings)
    versions = ", ".join(sorted({each.code_version for each in standings}))
    text = (
        f"{len(standings)} workloads under {values['peak_gflops']:.0f} GFLOP/s (FMA peak) and "
        f"{values['bandwidth_gb_s']:.1f} GB/s, timed by version {versions}."
    )
    if "geomean_vs_best" in values:
        text += (
            f" Best library's time over ours: geometric mean {values['geomean_vs_best']:.3f}, least "
            f"{values['worst_vs_best']:.3f} ({values['worst_name']})."
        )
    for who in BESIDE:
        if f"geomean_vs_{who}" in values:
            mean, worst = values[f"geomean_vs_{who}"], values[f"worst_vs_{who}"]
            text += f" {who}, not among them: {mean:.3f}, least {worst:.3f} ({values[f'worst_{who}_name']})."
    return text


def _microseconds(interval: Interval | None) -> str:
    if interval is None:
        return ""
    spread = max(interval.high_s - interval.median_s, interval.median_s - interval.low_s)
    return f"{1e6 * interval.median_s:.1f} ± {spread / interval.median_s:.1%}"
