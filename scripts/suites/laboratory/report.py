"""What the laboratory leaves: tables as CSV and Markdown, a plot per space, flat metrics."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np

from scripts.running.code_hash import folders_hash
from scripts.running.display import say, show_table
from scripts.running.launch import ROOT
from scripts.running.outputs import Metrics, write_text
from scripts.running.plotting import pyplot
from scripts.suites.laboratory.comparison import LaboratoryConfig, Standing, compare_on
from scripts.suites.laboratory.contenders import DEFAULT, PRETRAINED
from scripts.suites.laboratory.gains import gain_lines, gains, shown_gains
from scripts.suites.laboratory.grounds import open_grounds
from scripts.suites.laboratory.peers import PEERS
from scripts.suites.laboratory.trial_log import TrialLog
from scripts.suites.laboratory.verdicts import Verdict, cells, markdown, mean_score, score_rows, verdicts
from search.curves import median_band
from search.scoring import chance_of_no_lead

RUN_COLUMNS = ("space", "search", "run", "score", "budget_score", "best_s", "optimum_s")
CURVE_COLUMNS = ("space", "search", "trial", "median_s", "low_s", "high_s", "mean_s", "elapsed_s")
SIGNIFICANT = 0.05
NUM_DRAWN = 8
SOURCES = (
    *("codegen/clblast", "codegen/ir", "codegen/schedule"),
    *("datasets", "costmodel", "search", "scripts/suites/laboratory"),
)
"""What the outcome of a run depends on."""


def search_suite(config: LaboratoryConfig, seed: int, folder: Path) -> Metrics:
    """Compare, and leave all results in the folder, where a repeated call goes on with what is missing."""
    rng = np.random.default_rng(seed)
    log = TrialLog(folder / "trials.jsonl", folders_hash(ROOT, *SOURCES))
    standings = compare_on(open_grounds(config), config, seed, log)
    write_laboratory(folder, standings, rng, None if config.results is None else Path(config.results))
    show_table("scores on recorded spaces", *score_rows(standings))
    missing = missing_means(standings)
    if missing:
        say(missing)
    found = gains(standings, np.random.default_rng(seed))
    if found:
        show_table("pretraining against none, run by run", *shown_gains(found))
    return {**laboratory_metrics(standings, rng), "num_repeats": config.num_repeats}


def laboratory_metrics(standings: Sequence[Standing], rng: np.random.Generator) -> dict[str, float | int]:
    """Scores by space and search, and their means over the spaces that are not flat.

    ``kernel_tuner_best_mean`` takes the best of Kernel Tuner's strategies on each space;
    ``num_ahead_significantly`` counts spaces where ``annealer`` leads it by more than chance explains.
    """
    metrics: dict[str, float | int] = {}
    for each in standings:
        metrics[f"score_{each.space}_{each.search}"] = each.score
        metrics[f"budget_score_{each.space}_{each.search}"] = float(each.budget_scores.mean())
    told = [each for each in standings if not each.is_flat]
    metrics["num_spaces"] = len({each.space for each in standings})
    metrics["num_spaces_not_flat"] = len({each.space for each in told})
    for search in dict.fromkeys(each.search for each in told):
        metrics[f"score_mean_{search}"] = mean_score(told, search)
    for name, search in (("score_mean", DEFAULT), ("score_mean_pretrained", PRETRAINED)):
        if f"score_mean_{search}" in metrics:
            metrics[name] = metrics[f"score_mean_{search}"]
    best = best_peers(told)
    if best:
        metrics["kernel_tuner_best_mean"] = float(np.mean([each.score for each in best.values()]))
        ours = {each.space: each for each in told if each.search == DEFAULT}
        chances = [chance_of_no_lead(ours[s].scores, best[s].scores, rng) for s in best if s in ours]
        metrics["num_ahead_significantly"] = sum(chance < SIGNIFICANT for chance in chances)
    return metrics


def missing_means(standings: Sequence[Standing]) -> str | None:
    """A sentence about the means over spaces that the metrics do not have; None if they have all."""
    told = {each.search for each in standings if not each.is_flat}
    runs = {
        "score_mean": {DEFAULT},
        "score_mean_pretrained": {PRETRAINED},
        "kernel_tuner_best_mean": set(PEERS),
    }
    missing = [name for name, searches in runs.items() if not told & searches]
    if not missing:
        return None
    why = "no search that they are of was run on a space that is not flat" if told else "all spaces are flat"
    return f"metrics.json has no {', '.join(missing)}: {why}"


def best_peers(standings: Sequence[Standing]) -> Mapping[str, Standing]:
    """By space the strategy of Kernel Tuner with the highest score there."""
    best: dict[str, Standing] = {}
    for each in standings:
        if each.search in PEERS and (each.space not in best or each.score > best[each.space].score):
            best[each.space] = each
    return best


def write_laboratory(
    folder: Path, standings: Sequence[Standing], rng: np.random.Generator, results: Path | None = None
) -> None:
    """``runs.csv``, ``curves.csv``, ``scores.csv``, ``search.md`` and ``search.png``.

    ``results`` is a second folder, for the last three.
    """
    _write_csv(folder / "runs.csv", RUN_COLUMNS, [row for each in standings for row in _run_rows(each)])
    _write_csv(folder / "curves.csv", CURVE_COLUMNS, [row for each in standings for row in _curve_rows(each)])
    told = verdicts(standings, rng)
    compared = gains(standings, rng)
    for place in [folder, *([results] if results else [])]:
        place.mkdir(parents=True, exist_ok=True)
        names = [field.name for field in fields(Verdict)]
        _write_csv(place / "scores.csv", names, [cells(each) for each in told])
        write_text(place / "search.md", "\n".join([markdown(standings, told), *gain_lines(compared)]))
        draw_laboratory(place / "search.png", _drawn(standings))


def _drawn(standings: Sequence[Standing]) -> list[Standing]:
    """As many searches as colours can be told apart: what it is about, and the best of the others."""
    told = [each for each in standings if not each.is_flat] or standings
    names = sorted({each.search for each in told}, key=lambda name: -mean_score(told, name))
    names.sort(key=lambda name: name not in (DEFAULT, PRETRAINED, "random"))
    return [each for each in standings if each.search in names[:NUM_DRAWN]]


def draw_laboratory(path: Path, standings: Sequence[Standing]) -> None:
    """One panel per space: best so far over the optimum, median of the runs with quartiles."""
    from matplotlib.lines import Line2D

    plot = pyplot()
    spaces = list(dict.fromkeys(each.space for each in standings))
    searches = list(dict.fromkeys(each.search for each in standings))
    colours = dict(zip(searches, plot.get_cmap("tab20")(np.linspace(0, 1, len(searches))), strict=True))
    width = min(3, len(spaces))
    height = -(-len(spaces) // width)
    figure, panels = plot.subplots(
        height, width, figsize=(4.5 * width, 3.2 * height), squeeze=False, layout="constrained"
    )
    for panel, space in zip(panels.flat, spaces, strict=False):
        for each in (each for each in standings if each.space == space):
            band = median_band(each.curves / each.optimum_s)
            trials = np.arange(1, each.curves.shape[1] + 1)
            panel.plot(trials, band.median, label=each.search, color=colours[each.search], linewidth=1)
            panel.fill_between(trials, band.low, band.high, color=colours[each.search], alpha=0.08)
        panel.set(title=space, xlabel="trials", xscale="log", yscale="log")
    for panel in panels.flat[len(spaces) :]:
        panel.set_axis_off()
    panels[0][0].set_ylabel("best so far / optimum")
    handles = [Line2D([], [], color=colours[search], label=search) for search in searches]
    figure.legend(handles=handles, loc="outside lower center", ncols=4)
    figure.savefig(path, dpi=120)
    plot.close(figure)


def _run_rows(standing: Standing) -> list[list[object]]:
    pairs = zip(standing.scores, standing.budget_scores, standing.curves[:, -1], strict=True)
    return [
        [standing.space, standing.search, run, *map(float, values), standing.optimum_s]
        for run, values in enumerate(pairs)
    ]


def _curve_rows(standing: Standing) -> list[list[object]]:
    band = median_band(standing.curves)
    columns = (band.median, band.low, band.high, standing.curves.mean(axis=0), standing.elapsed_s)
    rows = np.stack(columns, axis=1).tolist()
    return [[standing.space, standing.search, trial, *row] for trial, row in enumerate(rows, start=1)]


def _write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_text(path, text.getvalue())
