"""What other tasks teach about a new one, as its own measurements come in: ``evaluate.py suite=transfer``."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import false_discovery_control
from scipy.stats import t as student_t

from costmodel.dataset import FeatureDataset, TaskFeatures
from costmodel.global_local import GlobalLocalModel
from costmodel.metrics import bootstrap_intervals, task_metrics
from costmodel.model import CostModel
from costmodel.neural import NeuralModel
from scripts.learning.guide import open_trained
from scripts.options.models import ModelOption, network_names
from scripts.running.display import progress
from scripts.running.markdown import markdown_table
from scripts.running.outputs import write_rows, write_text
from scripts.running.plotting import pyplot

WAYS = ("global", "local", "fine_tuned", "global_local")
MIN_LEFT = 16
"""Candidates that must be left to judge on."""

FALSE_DISCOVERIES = 0.05
"""Share of the cases of harm that may be chance."""


@dataclass(frozen=True, kw_only=True)
class TransferConfig:
    """``num_measured`` candidates of each task teach, drawn ``num_draws`` times; the rest judges."""

    num_measured: list[int] = field(default_factory=lambda: [8, 32, 96])
    num_draws: int = 5

    def __post_init__(self) -> None:
        if not self.num_measured or min(self.num_measured) < 2 or self.num_draws < 2:
            raise ValueError(
                "transfer.num_measured and transfer.num_draws must be at least 2, got "
                f"{self.num_measured} and {self.num_draws}"
            )


@dataclass(frozen=True)
class Outcome:
    """Pairwise accuracy on what was not learnt from.

    ``way``: global, what was learnt from other tasks alone; local, the same model from this task's
    measurements alone; fine_tuned, the first trained on by these; global_local, the first plus a correction.
    ``task`` is the label and ``group`` the group of ``TaskFeatures``.
    """

    task: str
    group: str
    num_measured: int
    draw: int
    way: str
    pairwise_accuracy: float


def open_network(option: ModelOption, loss: Any, checkpoint: str) -> NeuralModel:
    """The trained network that is tuned on new tasks, and corrected by trees there.

    Raises:
        ValueError: the model is no single network, or it is not trained.
    """
    untrained = option.build(loss)
    if not isinstance(untrained, NeuralModel):
        raise ValueError(
            "suite=transfer needs a network that can be trained on and corrected: model must be one of "
            f"{', '.join(network_names())}, got {untrained.name}"
        )
    model = open_trained(option, loss, checkpoint)
    assert isinstance(model, NeuralModel)
    return model


def transfer_outcomes(
    model: NeuralModel, fresh: CostModel, data: FeatureDataset, config: TransferConfig, seed: int
) -> list[Outcome]:
    """All ways on all tasks that are large enough; ``fresh`` is the model before any training."""
    tasks = [t for t in data.learnable().tasks if len(t) >= min(config.num_measured) + MIN_LEFT]
    if not tasks:
        raise ValueError(
            f"no task has {min(config.num_measured) + MIN_LEFT} candidates, {MIN_LEFT} more than the fewest "
            f"of transfer.num_measured={config.num_measured}"
        )
    outcomes = []
    jobs = list(itertools.product(tasks, config.num_measured, range(config.num_draws)))
    with progress("transfer") as tick:
        for done, (task, num, draw) in enumerate(jobs, start=1):
            if len(task) >= num + MIN_LEFT:
                outcomes += _outcomes(model, fresh, task, num, draw, seed)
            tick(done, len(jobs), task.label)
    return outcomes


def mean_rows(outcomes: Sequence[Outcome], seed: int) -> list[tuple[int, str, int, float, float, float]]:
    """Size, way, tasks, mean accuracy and its 95 % interval over groups of tasks."""
    groups = {each.task: each.group for each in outcomes}
    rows = []
    for size, way in itertools.product(sorted({each.num_measured for each in outcomes}), WAYS):
        drawn = _by_case(outcomes, way)
        means = {task: float(values.mean()) for (task, num), values in drawn.items() if num == size}
        named = [{"accuracy": mean} for mean in means.values()]
        rng = np.random.default_rng(seed)
        low, high = bootstrap_intervals(named, rng, [groups[task] for task in means])["accuracy"]
        rows.append((size, way, len(named), float(np.mean(list(means.values()))), low, high))
    return rows


def hurt_rows(outcomes: Sequence[Outcome]) -> list[tuple[str, int, float, float, float]]:
    """Tasks on which a model that knew other tasks ranks worse than one that knew none, worst first.

    Task, size, accuracy of local and of fine_tuned, difference; only where that is no chance: by a one-sided
    t test over the draws, both ways being paired in each, so that of all that are named about
    ``FALSE_DISCOVERIES`` are wrong (Benjamini and Hochberg 1995).
    """
    cases = sorted({(each.task, each.num_measured) for each in outcomes})
    local, tuned = (_by_case(outcomes, way) for way in ("local", "fine_tuned"))
    pairs = [(case, local[case], tuned[case]) for case in cases if len(local.get(case, ())) > 1]
    if not pairs:
        return []
    chances = [_chance_of_harm(alone - taught) for _, alone, taught in pairs]
    is_hurt = false_discovery_control(chances) <= FALSE_DISCOVERIES
    rows = [
        (*case, float(alone.mean()), float(taught.mean()), float((taught - alone).mean()))
        for (case, alone, taught), named in zip(pairs, is_hurt.tolist(), strict=True)
        if named
    ]
    return sorted(rows, key=lambda row: row[4])


def write_transfer(folder: Path, outcomes: Sequence[Outcome], seed: int) -> None:
    """``transfer.csv`` with every outcome, ``transfer.md`` and ``transfer.png``."""
    write_rows(folder / "transfer.csv", Outcome, outcomes)
    rows = mean_rows(outcomes, seed)
    cells = [(*row[:3], "{:.3f} ({:.3f} to {:.3f})".format(*row[3:])) for row in rows]
    lines = markdown_table(["measured", "way", "tasks", "pairwise accuracy"], 0, cells, words=(1, 3))
    lines += ["", *hurt_sentences(outcomes), ""]
    write_text(folder / "transfer.md", "\n".join(lines))
    _draw(folder / "transfer.png", rows)


def hurt_sentences(outcomes: Sequence[Outcome]) -> list[str]:
    """When transfer hurts, in words."""
    hurt = hurt_rows(outcomes)
    num = len({(each.task, each.num_measured) for each in outcomes})
    if not hurt:
        return [f"In none of {num} cases did knowledge of other tasks hurt beyond chance."]
    return [f"In {len(hurt)} of {num} cases knowledge of other tasks hurt beyond chance:", ""] + [
        f"- {task} after {size} measurements: {alone:.3f} without, {taught:.3f} with"
        for task, size, alone, taught, _ in hurt
    ]


def _outcomes(
    model: NeuralModel, fresh: CostModel, task: TaskFeatures, num: int, draw: int, seed: int
) -> list[Outcome]:
    order = np.random.default_rng([seed, draw, num]).permutation(len(task))
    seen, rest = task.take(np.sort(order[:num])), task.take(np.sort(order[num:]))
    # Nothing can be learnt from failures alone, nor judged on times that are all the same.
    if not np.isfinite(seen.latency_s).any() or len(np.unique(rest.labels)) < 2:
        return []
    data = FeatureDataset((seen,))
    models: dict[str, CostModel] = {
        "global": model,
        "local": fresh.tuned(data, np.random.default_rng(seed)),
        "fine_tuned": model.tuned(data, np.random.default_rng(seed)),
        "global_local": GlobalLocalModel(model).tuned(data, np.random.default_rng(seed)),
    }
    accuracies = {
        way: task_metrics(each.score(rest.trees), rest.labels)["pairwise_accuracy"]
        for way, each in models.items()
    }
    return [Outcome(task.label, task.group, num, draw, way, value) for way, value in accuracies.items()]


def _by_case(outcomes: Sequence[Outcome], way: str) -> dict[tuple[str, int], NDArray[np.float64]]:
    """Accuracies by task and size, in the order of the draws."""
    drawn: dict[tuple[str, int], dict[int, float]] = {}
    for each in outcomes:
        if each.way == way:
            drawn.setdefault((each.task, each.num_measured), {})[each.draw] = each.pairwise_accuracy
    return {case: np.array([values[draw] for draw in sorted(values)]) for case, values in drawn.items()}


def _chance_of_harm(losses: NDArray[np.float64]) -> float:
    """Probability of a mean loss like this, or a larger one, if there is none to be expected."""
    mean, error = losses.mean(), losses.std(ddof=1) / np.sqrt(len(losses))
    if error == 0:
        return 0.0 if mean > 0 else 1.0
    return float(student_t.sf(mean / error, df=len(losses) - 1))


def _draw(path: Path, rows: Sequence[tuple[int, str, int, float, float, float]]) -> None:
    plot = pyplot()
    figure, panel = plot.subplots(figsize=(5, 3.6), layout="constrained")
    for way in WAYS:
        mine = [row for row in rows if row[1] == way]
        sizes, means = [row[0] for row in mine], np.array([row[3] for row in mine])
        lows, highs = np.array([row[4] for row in mine]), np.array([row[5] for row in mine])
        panel.errorbar(
            sizes, means, yerr=np.maximum([means - lows, highs - means], 0), fmt="o-", capsize=3, label=way
        )
    panel.set(xscale="log", xlabel="measurements of the new task", ylabel="pairwise accuracy on the rest")
    panel.legend()
    figure.savefig(path, dpi=120)
    plot.close(figure)
