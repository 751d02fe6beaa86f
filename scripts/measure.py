"""Measure one candidate again, as the command in a failure says; for a GPU, compile and verify it first.

python scripts/measure.py task=matmul task.m=64 ... sketch=NAME 'knobs={tile_m:4,...}'
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.running.interruption import end_quietly_when_interrupted

end_quietly_when_interrupted()

import numpy as np
from omegaconf import MISSING

from codegen.measure.config import MeasureConfig
from codegen.measure.exchange import ExchangeMeter
from codegen.measure.jobs import MeasureJob
from codegen.measure.pool import MeasurePool
from codegen.ops import operator_parameters
from codegen.schedule import build_space
from scripts.options.gpu_target import GpuTargetConfig
from scripts.options.groups import read_task, register_groups
from scripts.running.display import duration, say
from scripts.running.launch import Run, launch
from scripts.running.outputs import Metrics
from scripts.tuning.gpu_resources import GpuBench, examined_metrics
from scripts.tuning.measured_search import reproduce_command
from scripts.tuning.outcomes import measurement_metrics, outcome_text


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A candidate by name; without a sketch, one drawn at random with ``seed``."""

    seed: int = 0
    task: Any = MISSING
    sketch: str | None = None
    knobs: dict[str, int] = field(default_factory=dict)
    target: Any = MISSING
    measure: MeasureConfig = field(default_factory=MeasureConfig)
    logger: Any = MISSING

    def __post_init__(self) -> None:
        if self.knobs and self.sketch is None:
            raise ValueError(f"knobs={dict(self.knobs)} belong to a sketch; name it with sketch=...")


def run(run: Run[Measure]) -> Metrics:
    """Measure, and say what happened: a failure is a result, not an error."""
    config = run.config
    name, operator = read_task(config.task)
    on_gpu = isinstance(config.target, GpuTargetConfig)
    target = config.target.describe() if on_gpu else config.target.detect()
    space = build_space(operator.program(), target)
    candidate: dict[str, object] = {"sketch": config.sketch, "knobs": config.knobs}
    if config.sketch is None:
        candidate = dict(space.named(space.sample(1, np.random.default_rng(config.seed)), 0))
    space.decode([candidate])
    parameters = operator_parameters(operator)
    job = MeasureJob(operator.operator_name, parameters, space.target, candidate, config.seed)
    if on_gpu:
        cache = config.target.compile_cache()
        return {"task": name, **examined_metrics(job, config.measure, cache, GpuBench())}
    with MeasurePool(config.measure, reproduce_command) as pool:
        measurement = pool.measure_one(job)
    say(f"{name} on {space.target.name}: {outcome_text(measurement)}")
    exchange_s = ExchangeMeter(space.target).exchange_s()
    if exchange_s is not None:
        say(f"a core saw what the other wrote after {duration(exchange_s)}")
    apart = {} if exchange_s is None else {"exchange_s": exchange_s}
    return {"task": name, "status": "ok", **apart, **measurement_metrics(measurement)}


if __name__ == "__main__":
    register_groups()
    launch("measure", Measure, run)
