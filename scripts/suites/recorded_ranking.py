"""How models rank recorded matrix products of GPUs: ``evaluate.py suite=recorded_ranking``.

The tree network sees loop trees, the models of knob spaces see knobs; all learn from the same measurements.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from codegen.clblast.gemm import PARAMETERS
from costmodel.dataset import FeatureDataset, TaskFeatures
from costmodel.encoders.treegru import TreeGRUConfig
from costmodel.knobs.boosted import BoostedConfig, BoostedTrees
from costmodel.knobs.factors import knob_factors
from costmodel.knobs.features import knob_features
from costmodel.knobs.gaussian_process import GaussianProcess, GaussianProcessConfig
from costmodel.knobs.network import KnobNetwork, KnobNetworkConfig
from costmodel.knobs.surrogate import Surrogate, normal_scores, standardised
from costmodel.knobs.tree_network import first_of_equal
from costmodel.metrics import task_metrics
from costmodel.neural import NeuralModel
from costmodel.recorded_gemm import check_gemm, gemm_task
from costmodel.train import RefitConfig
from datasets.recorded import RecordedTable, Value, ordered_values
from datasets.recorded_files import load_recorded
from scripts.options.recorded import named_files
from scripts.running.display import progress, show_table
from scripts.running.markdown import markdown_table
from scripts.running.outputs import Metrics, write_rows, write_text

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]

METRICS = ("pairwise_accuracy", "kendall_tau", "top5")
HEADER = ("learnt from", "judged on", "configurations", "model", *METRICS)

STEPS = RefitConfig(num_steps=600)
"""Of the tree network, whatever it learns from."""


@dataclass(frozen=True, kw_only=True)
class RecordedRankingConfig:
    """Spaces are files of ``folder`` (or of $LOOPRANK_RECORDED) whose names match ``spaces``.

    From each, ``num_learnt`` configurations teach, drawn ``num_repeats`` times; ``num_judged`` of this and of
    every other space judge. No kernel that teaches judges on its own device, whatever it is called there.
    ``results`` is a second folder for the tables.
    """

    folder: str | None = None
    spaces: list[str] = field(default_factory=lambda: ["*gemm*"])
    num_learnt: list[int] = field(default_factory=lambda: [100, 400, 1600])
    num_judged: int = 4_000
    num_repeats: int = 3
    results: str | None = None

    def __post_init__(self) -> None:
        if not self.num_learnt or min(self.num_learnt) < 2 or self.num_judged < 2 or self.num_repeats < 1:
            raise ValueError(
                "ranking.num_learnt and ranking.num_judged must be at least 2 and ranking.num_repeats 1, got "
                f"{self.num_learnt}, {self.num_judged} and {self.num_repeats}"
            )


@dataclass(frozen=True)
class RecordedSpace:
    """A recorded space and its loop trees."""

    name: str
    table: RecordedTable

    @cached_property
    def task(self) -> TaskFeatures:
        return gemm_task(self.table)

    @cached_property
    def kernels(self) -> IntArray:
        """A number for each configuration, alike for those that are one kernel."""
        return first_of_equal(self.task.trees)


@dataclass(frozen=True)
class Outcome:
    """How a model that learnt from ``num_learnt`` configurations of ``source`` ranks those of ``judged``."""

    source: str
    judged: str
    num_learnt: int
    model: str
    repeat: int
    pairwise_accuracy: float
    kendall_tau: float
    top5: float


Part: TypeAlias = tuple[RecordedSpace, IntArray]
"""Some configurations of a space, by their rows."""

Scorer: TypeAlias = Callable[[Part, Sequence[Part], int], list[Array]]
"""Learns from the first part and scores the others, higher is faster; the number is a seed."""


def ranking_suite(config: RecordedRankingConfig, seed: int, folder: Path) -> Metrics:
    """Rank, and leave the tables in the folder."""
    outcomes = rank_recorded(open_spaces(config), config, seed)
    write_ranking(folder, outcomes, None if config.results is None else Path(config.results))
    show_table("recorded matrix products", HEADER, mean_rows(outcomes))
    return {**flat_metrics(outcomes), "num_repeats": config.num_repeats}


def open_spaces(config: RecordedRankingConfig) -> list[RecordedSpace]:
    """The chosen spaces; ValueError if there are none, or one cannot be read or has no loop trees."""
    files, chosen = named_files(config.folder, config.spaces, "ranking")
    spaces = [RecordedSpace(name, load_recorded(files[name], name)) for name in chosen]
    for space in spaces:
        check_gemm(space.table)
    return spaces


def rank_recorded(spaces: Sequence[RecordedSpace], config: RecordedRankingConfig, seed: int) -> list[Outcome]:
    """All models, sizes and repeats; ValueError if a space leaves fewer than two configurations to judge."""
    outcomes = []
    jobs = [(s, n, r) for s in spaces for n in config.num_learnt for r in range(config.num_repeats)]
    with progress("ranking") as tick:
        for done, (source, num, repeat) in enumerate(jobs, start=1):
            rng = np.random.default_rng([seed, repeat, num])
            learnt, own = divided(source, num, config.num_judged, rng)
            others = [s for s in spaces if s is not source]
            drawn = [(s, rng.permutation(len(s.table))[: config.num_judged]) for s in others]
            judged = [(source, own), *drawn]
            for model, scorer in SCORERS.items():
                found = scorer((source, learnt), judged, seed + repeat)
                for (space, rows), scores in zip(judged, found, strict=True):
                    metrics = task_metrics(scores, space.task.take(rows).labels)
                    values = [metrics[name] for name in METRICS]
                    outcomes.append(Outcome(source.name, space.name, num, model, repeat, *values))
            tick(done, len(jobs), source.name)
    return outcomes


def divided(
    space: RecordedSpace, num_learnt: int, num_judged: int, rng: np.random.Generator
) -> tuple[IntArray, IntArray]:
    """Rows to learn from, and rows to judge on, none of which is a kernel of the former."""
    order = rng.permutation(len(space.table))
    learnt, rest = order[:num_learnt], order[num_learnt:]
    judged = rest[~np.isin(space.kernels[rest], space.kernels[learnt])][:num_judged]
    if len(judged) < 2:
        raise ValueError(
            f"{space.name} has {len(space.table)} configurations, too few to learn from {num_learnt}"
        )
    return learnt, judged


def _tree(learnt: Part, judged: Sequence[Part], seed: int) -> list[Array]:
    space, rows = learnt
    model = NeuralModel(TreeGRUConfig(), STEPS.training([len(rows)], learning_rate=6e-3))
    model.fit(FeatureDataset((space.task.take(rows),)), np.random.default_rng(seed))
    return [model.score(other.task.trees.take(asked)).astype(np.float64) for other, asked in judged]


_Values: TypeAlias = Sequence[Sequence[Value]]


def _boosted(values: _Values, positions: IntArray, seed: int) -> Surrogate:
    return BoostedTrees(knob_features(values, positions), BoostedConfig(), np.random.default_rng(seed))


def _network(values: _Values, positions: IntArray, seed: int) -> Surrogate:
    config = KnobNetworkConfig(num_steps=KnobNetworkConfig().num_pretraining_steps)
    return KnobNetwork(positions, [*map(len, values)], config, torch.Generator().manual_seed(seed))


def _gaussian_process(values: _Values, positions: IntArray, seed: int) -> Surrogate:
    del seed
    return GaussianProcess(knob_factors(values, positions), GaussianProcessConfig())


def _of_knobs(make: Callable[[_Values, IntArray, int], Surrogate]) -> Scorer:
    """A model of knobs sees all configurations as points of one space, whatever their device."""

    def score(learnt: Part, judged: Sequence[Part], seed: int) -> list[Array]:
        tables = [(space.table, rows) for space, rows in (learnt, *judged)]
        values, positions = _joined(tables)
        space, rows = learnt
        times_s = space.table.times_s[rows]
        targets = standardised(normal_scores(np.where(np.isnan(times_s), np.inf, times_s)))
        surrogate = make(values, positions, seed)
        surrogate.fit(np.arange(len(rows)), targets)
        ends = np.cumsum([len(asked) for _, asked in (learnt, *judged)])
        return np.split(-surrogate.predict()[0], ends[:-1])[1:]

    return score


SCORERS: Mapping[str, Scorer] = {
    "tree": _tree,
    "gaussian_process": _of_knobs(_gaussian_process),
    "network": _of_knobs(_network),
    "boosted": _of_knobs(_boosted),
}


def _joined(tables: Sequence[tuple[RecordedTable, IntArray]]) -> tuple[list[tuple[Value, ...]], IntArray]:
    """All values of each parameter, and the rows of all tables in turn as positions of these."""
    values, columns = [], []
    for name in PARAMETERS:
        known = ordered_values({v for table, _ in tables for v in table.values[table.knobs.index(name)]})
        parts = []
        for table, rows in tables:
            column = table.knobs.index(name)
            places = np.array([known.index(value) for value in table.values[column]], np.int64)
            parts.append(places[table.positions[rows, column]])
        values.append(known)
        columns.append(np.concatenate(parts))
    return values, np.stack(columns, axis=1)


def mean_rows(outcomes: Sequence[Outcome]) -> list[tuple[str, str, int, str, float, float, float]]:
    """Source, judged, size, model, and the mean over the repeats of each of ``METRICS``."""
    groups: dict[tuple[str, str, int, str], list[Outcome]] = {}
    for each in outcomes:
        groups.setdefault((each.source, each.judged, each.num_learnt, each.model), []).append(each)
    return [
        (*key, *(float(np.mean([getattr(each, name) for each in same])) for name in METRICS))  # type: ignore[misc]
        for key, same in groups.items()
    ]


def flat_metrics(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """Means over the spaces: ``<model>_<size>_own_<metric>``, and ``other`` on devices not learnt from."""
    found: dict[str, list[float]] = {}
    for each in outcomes:
        where = "own" if each.source == each.judged else "other"
        for name in METRICS:
            found.setdefault(f"{each.model}_{each.num_learnt}_{where}_{name}", []).append(getattr(each, name))
    return {name: float(np.mean(values)) for name, values in found.items()}


def write_ranking(folder: Path, outcomes: Sequence[Outcome], results: Path | None = None) -> None:
    """``ranking.csv`` with every outcome and ``ranking.md`` with means; ``results`` is a second folder."""
    cells = [(*row[:4], *(f"{value:.3f}" for value in row[4:])) for row in mean_rows(outcomes)]
    lines = markdown_table(HEADER, 2, cells, words=(3,))
    for place in [folder, *([results] if results else [])]:
        place.mkdir(parents=True, exist_ok=True)
        write_rows(place / "ranking.csv", Outcome, outcomes)
        write_text(place / "ranking.md", "\n".join([*lines, ""]))
