"""The options of the config groups: what a command line may choose, as dataclasses that build it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codegen.measure.detect import VectorWidth, detect_target
from codegen.ops import WORKLOADS, Operator, make_operator
from codegen.target import Target
from costmodel.losses import LambdaRank, ListMLE, LogTimeRegression, Mixture, PairwiseLogistic, RankAndTime
from datasets.tasks import Task, load_tasks
from scripts.options.data import DataConfig
from scripts.options.figures import ComparisonConfig
from scripts.options.gpu_target import GpuTargetConfig
from scripts.options.models import (
    ConstantOption,
    EnsembleOption,
    GlobalLocalOption,
    GradientBoostingOption,
    NeuralOption,
    RandomOption,
    RooflineOption,
)
from scripts.options.searches import SEARCH_OPTIONS
from scripts.running.loggers import CsvConfig, TensorBoardConfig, WandbConfig
from scripts.running.schemas import store


@dataclass(frozen=True, kw_only=True)
class TargetConfig:
    """The machine at hand, or part of it. ``vector_width`` is auto, 512 or 256 (bits).

    ``bf16_dot`` adds schedules that multiply in bfloat16, with a tolerance of their own.
    """

    num_threads: int | None = None
    vector_width: str = "auto"
    bf16_dot: bool = False

    def detect(self) -> Target:
        """The target; ValueError names what this CPU lacks."""
        widths: dict[str, VectorWidth] = {"auto": "auto", "512": 512, "256": 256}
        if self.vector_width not in widths:
            raise ValueError(f"target.vector_width must be auto, 512 or 256, got {self.vector_width}")
        return detect_target(self.num_threads, widths[self.vector_width], bf16_dot=self.bf16_dot)


def read_task(task: Mapping[str, Any]) -> tuple[str, Operator]:
    """Name and operator of the group ``task``; a named workload keeps its name.

    >>> read_task({"operator": "matmul", "m": 512, "k": 512, "n": 512})[0]
    'matmul_512'
    """
    operator = make_operator(str(task["operator"]), {k: v for k, v in task.items() if k != "operator"})
    named = [name for name, workload in WORKLOADS.items() if workload == operator]
    return (named[0] if named else f"{task['operator']}_{operator.program().hash[:8]}"), operator


def listed_tasks(path: Path, name: str | None) -> list[Task]:
    """The task of this name in a list, or all of them; ValueError if there is none, or one is no operator."""
    tasks = load_tasks(path)
    chosen = [task for task in tasks if name in (None, task.name)]
    if not chosen:
        known = ", ".join(task.name for task in tasks)
        raise ValueError(f"name must be one of the tasks in {path}: {known}; got {name}")
    for task in chosen:
        try:
            make_operator(task.operator, task.parameters)
        except ValueError as error:
            raise ValueError(f"{path}, task {task.name}: {error}") from None
    return chosen


OPTIONS: dict[str, dict[str, type[Any]]] = {
    "model": {
        "neural": NeuralOption,
        "ensemble": EnsembleOption,
        "global_local": GlobalLocalOption,
        "xgboost": GradientBoostingOption,
        "roofline": RooflineOption,
        "random": RandomOption,
        "constant": ConstantOption,
    },
    "loss": {
        "pairwise": PairwiseLogistic,
        "lambda_rank": LambdaRank,
        "list_mle": ListMLE,
        "regression": LogTimeRegression,
        "rank_and_time": RankAndTime,
        "mixture": Mixture,
    },
    "logger": {"csv": CsvConfig, "tensorboard": TensorBoardConfig, "wandb": WandbConfig},
    "search": SEARCH_OPTIONS,
    "figure": {"search_efficiency": ComparisonConfig},
    "target": {"target": TargetConfig, "gpu": GpuTargetConfig},
    "data": {"data": DataConfig},
}
"""Schemas by group; ``configs/<group>/*.yaml`` build on ``<name>_schema``."""


def register_groups() -> None:
    """Make every option known to Hydra."""
    for group, options in OPTIONS.items():
        for name, option in options.items():
            store(f"{name}_schema", option, group)
