"""What bfloat16 gains and costs in training: ``benchmark.py suite=precision``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from costmodel.dataset import FeatureDataset
from costmodel.precision import PRECISIONS
from scripts.learning.judgement import judge
from scripts.learning.training import fit_model
from scripts.options.models import NeuralOption
from scripts.running.display import say, show_table
from scripts.running.mistakes import sentence
from scripts.running.outputs import write_rows
from scripts.suites.models.trainings import smaller

METRICS = ("epoch_cpu_s", "epoch_wall_s", "pairwise_accuracy")
WHOLE, HALF = PRECISIONS
"""The precision that always works, and the one that a CPU may refuse."""


@dataclass(frozen=True, kw_only=True)
class PrecisionConfig:
    """Trainings with ``num_seeds`` seeds on about ``num_records`` candidates, 0 for all.

    ``validation_fraction``: share of the programs to learn from that is kept apart to judge on.
    """

    num_seeds: int = 3
    num_records: int = 8_000
    validation_fraction: float = 0.2

    def __post_init__(self) -> None:
        if self.num_seeds < 1 or self.num_records < 0 or not 0 < self.validation_fraction < 1:
            raise ValueError(
                "precision.num_seeds must be at least 1, num_records not negative and validation_fraction "
                f"in (0, 1), got {self.num_seeds}, {self.num_records} and {self.validation_fraction}"
            )


@dataclass(frozen=True)
class Outcome:
    """One training; an epoch's seconds are of all processors together (``Effort``) and by the clock.

    They are the training's over its epochs, in bfloat16 with the few steps that decide whether it pays.
    """

    precision: str
    seed: int
    epoch_cpu_s: float
    epoch_wall_s: float
    pairwise_accuracy: float


def precision_suite(
    option: NeuralOption, loss: Any, data: FeatureDataset, config: PrecisionConfig, seed: int, folder: Path
) -> dict[str, float | int | str]:
    """Train with both precisions, judge, print and write ``precision.csv``; the metrics of both."""
    rng = np.random.default_rng(seed)
    chosen = smaller(data, config.num_records, rng) if config.num_records else data
    learning, validation = (side.learnable() for side in chosen.divided(config.validation_fraction, rng))
    if not (learning.tasks and validation.tasks):
        raise ValueError(
            "suite=precision needs a program to learn from and one to judge on, but of the "
            f"{len(data.tasks)} there precision.num_records={config.num_records} and validation_fraction="
            f"{config.validation_fraction} leave {len(learning.tasks)} and {len(validation.tasks)}"
        )
    _warm_up(option, loss, learning, seed)
    seeds = range(seed, seed + config.num_seeds)
    outcomes, refusals = _trained(option, loss, (learning, validation), seeds)
    write_rows(folder / "precision.csv", Outcome, outcomes)
    found = metrics_of(outcomes)
    title = f"{option.training.num_epochs} epochs of {len(learning)} candidates, least and most of the seeds"
    show_table(title, ["precision", "seeds", *METRICS], table_rows(found))
    for reason in dict.fromkeys(refusals):
        say(f"{HALF}, {refusals.count(reason)} of {config.num_seeds} seeds: {reason}")
    return {
        **found,
        **({f"{HALF}_refused": refusals[0]} if refusals else {}),
        "num_epochs": option.training.num_epochs,
        "num_train_candidates": len(learning),
        "num_validation_candidates": len(validation),
    }


def metrics_of(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """Mean, least (``low``) and most (``high``) over the seeds of each metric of each precision.

    ``speedup_<seconds>``: float32's over bfloat16's of the same seed; ``ahead_pairwise_accuracy``:
    bfloat16's minus float32's.
    """
    by_seed = {
        precision: {each.seed: each for each in outcomes if each.precision == precision}
        for precision in PRECISIONS
    }
    found: dict[str, float] = {}
    for precision, known in by_seed.items():
        found[f"{precision}_num_seeds"] = len(known)
        for metric in METRICS:
            found |= _spread(precision, metric, [getattr(each, metric) for each in known.values()])
    pairs = [(by_seed[WHOLE][seed], half) for seed, half in by_seed[HALF].items()]
    for metric in METRICS[:2]:
        ratios = [getattr(whole, metric) / getattr(half, metric) for whole, half in pairs]
        found |= _spread("speedup", metric, ratios)
    gains = [half.pairwise_accuracy - whole.pairwise_accuracy for whole, half in pairs]
    return found | _spread("ahead", "pairwise_accuracy", gains)


def table_rows(found: Mapping[str, float]) -> list[list[str]]:
    """A line for each precision, one for the two compared seed by seed; of what is not known, nothing."""
    rows = [
        [precision, f"{found[f'{precision}_num_seeds']:.0f}", *(_cell(found, precision, m) for m in METRICS)]
        for precision in PRECISIONS
    ]
    gains = [_cell(found, "speedup", metric, "x") for metric in METRICS[:2]]
    return [*rows, [f"{HALF} against {WHOLE}", "", *gains, _cell(found, "ahead", METRICS[2])]]


def _warm_up(option: NeuralOption, loss: Any, data: FeatureDataset, seed: int) -> None:
    """An epoch on one task: the first training of a process pays a second for what torch sets up once."""
    training = replace(option.training, num_epochs=1, precision=WHOLE)
    model = replace(option, training=training).build(loss)
    model.fit(FeatureDataset(data.tasks[:1]), np.random.default_rng(seed))


def _trained(
    option: NeuralOption, loss: Any, sides: tuple[FeatureDataset, FeatureDataset], seeds: Sequence[int]
) -> tuple[list[Outcome], list[str]]:
    """Both precisions in turn, the first of them changing, and why the second was refused if it was."""
    outcomes, refusals = [], []
    for number, seed in enumerate(seeds):
        for precision in PRECISIONS if number % 2 == 0 else reversed(PRECISIONS):
            say(f"seed {seed}, {precision}")
            try:
                outcomes.append(_outcome(option, loss, sides, precision, seed))
            except ValueError as error:
                if precision == WHOLE:
                    raise
                refusals.append(sentence(error))
    return outcomes, refusals


def _outcome(
    option: NeuralOption, loss: Any, sides: tuple[FeatureDataset, FeatureDataset], precision: str, seed: int
) -> Outcome:
    # Without patience both precisions have as many epochs.
    training = replace(option.training, precision=precision, patience=0)
    model = replace(option, training=training).build(loss)
    effort = fit_model(model, sides[0], seed)
    accuracy = judge(model, sides[1], seed).model["pairwise_accuracy"]
    num = training.num_epochs
    return Outcome(precision, seed, effort.cpu_s / num, effort.wall_s / num, accuracy)


def _spread(name: str, metric: str, values: Sequence[float]) -> dict[str, float]:
    if not values:
        return {}
    summaries = {"": float(np.mean(values)), "low_": min(values), "high_": max(values)}
    return {f"{name}_{end}{metric}": value for end, value in summaries.items()}


def _cell(found: Mapping[str, float], name: str, metric: str, unit: str = "") -> str:
    if f"{name}_{metric}" not in found:
        return ""
    sign = "+" if name == "ahead" else ""
    value, low, high = (f"{found[f'{name}_{end}{metric}']:{sign}.3f}" for end in ("", "low_", "high_"))
    return f"{value}{unit} ({low} to {high})"
