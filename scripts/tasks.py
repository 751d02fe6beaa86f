"""List what an ONNX network computes: python scripts/tasks.py onnx=model.onnx [batch=8] [output=tasks.yaml].

Or draw operators to learn from: python scripts/tasks.py draw=200 seed=1. Either list is written as
``tasks.yaml``, which ``collect.py`` and ``tune.py`` accept.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.running.interruption import end_quietly_when_interrupted

end_quietly_when_interrupted()

import numpy as np
from omegaconf import MISSING

from codegen.graph.onnx_tasks import NetworkTasks, OperatorTask, onnx_tasks
from codegen.ops import make_operator, operator_parameters
from datasets.drawing import draw_tasks
from datasets.tasks import Task, save_tasks
from scripts.options.groups import register_groups
from scripts.running.display import say, show_table
from scripts.running.launch import Run, launch
from scripts.running.outputs import Metrics


@dataclass(frozen=True, kw_only=True)
class Tasks:
    """Either ``onnx``, the file of a network, or ``draw``, a number of operators of drawn shapes.

    ``batch`` replaces the first dimension of every input; ``dims`` gives sizes to symbolic dimensions.
    ``output`` is a second place for the list; the run folder always gets one.
    """

    seed: int = 0
    onnx: str | None = None
    draw: int | None = None
    batch: int | None = None
    dims: dict[str, int] = field(default_factory=dict)
    output: str | None = None
    logger: Any = MISSING

    def __post_init__(self) -> None:
        if (self.onnx is None) == (self.draw is None):
            raise ValueError(
                f"give onnx=<file> or draw=<number of operators>, got onnx={self.onnx} and draw={self.draw}"
            )
        if self.draw is not None and (self.batch is not None or self.dims):
            raise ValueError(f"batch and dims are of networks, got batch={self.batch} with draw={self.draw}")


def run(run: Run[Tasks]) -> Metrics:
    """Read or draw, show and write."""
    config = run.config
    if config.draw is not None:
        tasks, metrics = _drawn(config.draw, config.seed)
    else:
        assert config.onnx is not None  # one of the two is given
        tasks, metrics = _read(onnx_tasks(Path(config.onnx), config.batch, config.dims))
    paths = [run.folder / "tasks.yaml", *([Path(config.output)] if config.output else [])]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_tasks(tasks, path)
    say(f"wrote {' and '.join(map(str, paths))}")
    return {"num_tasks": len(tasks), "num_operators": sum(task.count for task in tasks), **metrics}


def _read(network: NetworkTasks) -> tuple[list[Task], Metrics]:
    """What a network computes."""
    _show(network)
    return [_as_task(task) for task in network.tasks], {
        "num_unsupported": sum(network.unsupported.values()),
        "total_flops": network.total_flops,
        "producer": network.producer,
        "opset": network.opset,
    }


def _drawn(num: int, seed: int) -> tuple[list[Task], Metrics]:
    """Operators of drawn shapes; none of them is unsupported."""
    tasks = draw_tasks(num, np.random.default_rng(seed))
    flops: dict[str, list[int]] = {}
    for task in tasks:
        flops.setdefault(task.operator, []).append(make_operator(task.operator, task.parameters).flops)
    rows = [(name, len(each), min(each) / 1e6, max(each) / 1e6) for name, each in flops.items()]
    show_table("drawn operators", ["operator", "count", "least MFLOP", "most MFLOP"], rows)
    return tasks, {"num_unsupported": 0, "total_flops": sum(map(sum, flops.values()))}


def _show(network: NetworkTasks) -> None:
    inputs = ", ".join(f"{name} {_size(shape)}" for name, shape in network.inputs.items())
    say(f"producer {network.producer}, opset {network.opset}, inputs {inputs}")
    rows = [
        (task.name, _shapes(task), task.count, task.flops / 1e6, task.num_bytes / 1e6)
        for task in network.tasks
    ]
    show_table("distinct operators", ["task", "shapes", "count", "MFLOP each", "MB each"], rows)
    if network.unsupported:
        show_table("not supported", ["operation", "count"], list(network.unsupported.items()))
    say(f"{network.total_flops / 1e9:.3f} GFLOP in all, without what is not supported")


def _shapes(task: OperatorTask) -> str:
    shapes: Mapping[str, tuple[int, ...]] = task.operator.user_shapes()
    return ", ".join(f"{name} {_size(shape)}" for name, shape in shapes.items())


def _size(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "scalar"


def _as_task(task: OperatorTask) -> Task:
    parameters: dict[str, Any] = operator_parameters(task.operator)
    return Task(task.name, task.operator.operator_name, parameters, task.count)


if __name__ == "__main__":
    register_groups()
    launch("tasks", Tasks, run)
