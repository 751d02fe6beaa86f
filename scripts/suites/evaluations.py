"""The suites of ``evaluate.py``: each takes a run and gives flat metrics."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass, field
from typing import Any

from omegaconf import MISSING

from costmodel.encoders.baselines import ConstantModel, RandomModel, RooflineModel
from costmodel.metrics import TaskMetrics
from costmodel.model import CostModel
from scripts.learning.gpu_judgement import analytic_metrics
from scripts.learning.guide import checkpoint_file, open_trained
from scripts.learning.judgement import SHOWN, judge, scoring_rate, uncertainty_metrics
from scripts.learning.prediction_plot import draw_predictions
from scripts.learning.seen_tasks import num_seen
from scripts.learning.training import comparable_features, warn_of_intervals
from scripts.options.data import DataConfig
from scripts.running.display import say, show_table
from scripts.running.launch import Run
from scripts.running.outputs import Metrics
from scripts.suites.laboratory.comparison import LaboratoryConfig
from scripts.suites.laboratory.report import search_suite
from scripts.suites.models.report import (
    FAILED,
    flat,
    ranked_rows,
    screen_cells,
    screen_header,
    sentences,
    write_tables,
)
from scripts.suites.models.selection import ModelTableConfig
from scripts.suites.models.statistics import ceilings_of, rows_of
from scripts.suites.models.trainings import run_cells
from scripts.suites.recorded_ranking import RecordedRankingConfig, ranking_suite
from scripts.suites.transfer.outcomes import TAUGHT, TransferConfig, open_network, transfer_outcomes
from scripts.suites.transfer.report import HEADER, cells_of, harm_of_ways, write_transfer
from scripts.suites.transfer.standings import harms, standings_of


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """``checkpoint`` as in ``tune.py``; ``model`` says what it holds.

    ``table``, ``transfer``, ``laboratory`` and ``ranking`` are for the suites models, transfer, search and
    recorded_ranking.

    ``allow_seen`` judges a checkpoint even on tasks it was trained on.
    """

    suite: str = "checkpoint"
    seed: int = 0
    data: DataConfig = MISSING
    model: Any = MISSING
    loss: Any = MISSING
    checkpoint: str = "shipped"
    allow_seen: bool = False
    table: ModelTableConfig = field(default_factory=ModelTableConfig)
    transfer: TransferConfig = field(default_factory=TransferConfig)
    laboratory: LaboratoryConfig = field(default_factory=LaboratoryConfig)
    ranking: RecordedRankingConfig = field(default_factory=RecordedRankingConfig)
    logger: Any = MISSING

    def __post_init__(self) -> None:
        if self.suite not in EVALUATIONS:
            raise ValueError(f"suite must be {' or '.join(EVALUATIONS)}, got {self.suite!r}")


def checkpoint(run: Run[Evaluate]) -> Metrics:
    """Metrics on the test side of the split, of the model and of what learns nothing; ``predictions.png``."""
    config = run.config
    model = open_trained(config.model, config.loss, config.checkpoint)
    warn_of_intervals(model)
    split = config.data.divide(config.data.table(), config.seed)
    file = checkpoint_file(config.model, config.loss, config.checkpoint)
    seen = num_seen(file, split, config.data.split, config.allow_seen)
    data = comparable_features("be judged on", split.test, config.data.feature_cache())
    baselines: list[CostModel] = [RooflineModel(), ConstantModel(), RandomModel(config.seed)]
    models = [model, *(baseline for baseline in baselines if baseline.name != model.name)]
    judgements = {each.name: judge(each, data, config.seed) for each in models}
    uncertainty = uncertainty_metrics(model, data)
    analytic = analytic_metrics(model, split.test, data)
    known = {**{name: judgement.model for name, judgement in judgements.items()}, **analytic}
    known |= {
        model.name: {**known[model.name], **uncertainty},
        "noise ceiling": judgements[model.name].ceiling,
    }
    columns = [*SHOWN, *uncertainty]
    rows = [(name, *(metrics.get(column, "") for column in columns)) for name, metrics in known.items()]
    show_table(f"{len(data.learnable().tasks)} tasks, {len(data)} candidates", ["model", *columns], rows)
    judgements[model.name].show_targets()
    draw_predictions(run.folder / "predictions.png", model, data)
    say(f"predicted against measured times: {run.folder / 'predictions.png'}")
    return {
        **judgements[model.name].flat(),
        **uncertainty,
        **_headlines({"roofline": judgements["roofline"].model, **analytic}),
        **({} if seen is None else {"num_seen_tasks": seen}),
        "model": model.name,
        "candidates_per_s": scoring_rate(model, data),
        "num_test_tasks": len(data.learnable().tasks),
        "num_test_candidates": len(data),
    }


def _headlines(known: Mapping[str, TaskMetrics]) -> dict[str, float]:
    """Two metrics of each, for ``metrics.json``; what no task has, all its times being alike, is left out."""
    named = {name.replace(" ", "_"): metrics for name, metrics in known.items()}
    values = {f"{n}_{key}": each[key] for n, each in named.items() for key in ("pairwise_accuracy", "top5")}
    return {name: value for name, value in values.items() if math.isfinite(value)}


def models(run: Run[Evaluate]) -> Metrics:
    """Models, losses and splits in one table, trained here; the same run folder goes on where it was.

    Raises:
        ValueError: a training failed; the table of the others is written first.
    """
    config = run.config.table
    cells, failed = run_cells(config, run.config.data, run.config.seed, run.folder)
    if not cells:
        raise ValueError(f"all {len(failed)} trainings failed, the first with: {failed[0].reason}")
    rows, ceilings = rows_of(cells, config.reference, run.config.seed), ceilings_of(cells)
    write_tables(run.folder, rows, ceilings, config.reference, failed)
    for split in dict.fromkeys(row.split for row in rows):
        ranked = ranked_rows(rows, split)
        show_table(split, screen_header(config.reference), [screen_cells(row) for row in ranked])
        for sentence in sentences(ranked):
            say(sentence)
    if not any(row.model == config.reference for row in rows):
        names = ", ".join(dict.fromkeys(row.model for row in rows))
        say(f"no differences: {config.reference} does not take part; table.reference can be one of {names}")
    say(f"tables: {run.folder / 'models.csv'}, {run.folder / 'models.md'}; plot: {run.folder / 'models.png'}")
    if failed:
        show_table("trainings that failed", FAILED, [astuple(each) for each in failed])
        raise ValueError(
            f"{len(failed)} of {len(cells) + len(failed)} trainings failed, as listed in "
            f"{run.folder / 'models.md'}; the same hydra.run.dir tries them again"
        )
    return {**flat(rows, ceilings), "num_trainings": len(cells)}


def transfer(run: Run[Evaluate]) -> Metrics:
    """A trained network on new tasks: as it is, tuned on some of their measurements, and against none."""
    config = run.config
    model = open_network(config.model, config.loss, config.checkpoint)
    split = config.data.divide(config.data.table(), config.seed)
    file = checkpoint_file(config.model, config.loss, config.checkpoint)
    num_seen(file, split, config.data.split, config.allow_seen)
    data = comparable_features("transfer to", split.test, config.data.feature_cache())
    outcomes = transfer_outcomes(model, config.model.build(config.loss), data, config.transfer, config.seed)
    hurt = harms(outcomes)
    standings = standings_of(outcomes, hurt, config.seed)
    write_transfer(run.folder, outcomes, standings, hurt)
    show_table("transfer to new tasks", HEADER, [cells_of(each) for each in standings])
    for sentence, cases in harm_of_ways(outcomes, hurt):
        say("\n  ".join([sentence, *cases]))
    means = {f"{each.way}_{each.num_measured}_pairwise_accuracy": each.accuracy for each in standings}
    counts = {f"{way}_num_hurt": sum(harm.way == way for harm in hurt) for way in TAUGHT}
    return {**means, **counts, "num_outcomes": len(outcomes)}


def search(run: Run[Evaluate]) -> Metrics:
    """Searches compared on recorded spaces."""
    return search_suite(run.config.laboratory, run.config.seed, run.folder)


def recorded_ranking(run: Run[Evaluate]) -> Metrics:
    """The tree network and models of knobs on recorded matrix products, on the same and on another device."""
    return ranking_suite(run.config.ranking, run.config.seed, run.folder)


EVALUATIONS: dict[str, Callable[[Run[Evaluate]], Metrics]] = {
    "checkpoint": checkpoint,
    "models": models,
    "transfer": transfer,
    "search": search,
    "recorded_ranking": recorded_ranking,
}
"""By name; a suite of ``evaluate.py`` has a file in ``configs/suite`` too."""
