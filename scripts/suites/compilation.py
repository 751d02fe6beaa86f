"""Whether ``torch.compile`` would make the steps of a training faster: ``benchmark.py suite=compilation``."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

import numpy as np
import torch

from costmodel.batching import forest_of
from costmodel.dataset import FeatureDataset
from costmodel.network import ForestTensors, Ranker, tensors_of
from costmodel.steps import epoch_steps
from scripts.options.models import NeuralOption
from scripts.running.display import progress, say, show_table
from scripts.running.mistakes import sentence


@dataclass(frozen=True, kw_only=True)
class CompilationConfig:
    """``num_steps`` steps of an epoch, each with other trees, first as they are and then compiled.

    What is compiled must have done the steps twice after ``limit_s``, or it is given up.
    """

    num_steps: int = 20
    limit_s: float = 300.0

    def __post_init__(self) -> None:
        if self.num_steps < 1 or not self.limit_s > 0:
            raise ValueError(
                "compilation.num_steps must be at least 1 and compilation.limit_s positive, got "
                f"{self.num_steps} and {self.limit_s}"
            )


class TimeIsUp(BaseException):
    """No ``Exception``: a compiler that meets one may go on without what it compiled."""


def compilation_suite(
    option: NeuralOption, data: FeatureDataset, config: CompilationConfig, seed: int
) -> dict[str, float | int | str]:
    """Seconds of the steps at first, where compiling is part of them, and once more; print and return them.

    A step is scores and gradients, without the optimizer's, which is not compiled. What the compiled network
    lacks the time for has no metrics but ``num_compiled_steps``.
    """
    training = option.training
    rng = np.random.default_rng(seed)
    steps = epoch_steps(data, training.tasks_per_step, training.candidates_per_task, rng)[: config.num_steps]
    forests = [tensors_of(forest_of(data.take(step.rows[step.rows >= 0]))) for step in steps]
    torch.manual_seed(seed)
    network = Ranker(option.encoder())
    network.measure_inputs([task.trees for task in data.tasks])
    _timed(network, forests)  # what torch sets up once
    times_s = {"eager": _timed(network, forests)}
    first_s: list[float] = []
    try:
        compiled: Callable[..., Any] = torch.compile(network, dynamic=True)
        with limited(config.limit_s), progress("compiled") as tick:
            for number, forest in enumerate(forests, start=1):
                first_s += _timed(compiled, [forest])
                tick(number, len(forests), "")
            times_s["compiled"] = _timed(compiled, forests)
    except TimeIsUp:
        done = f"{len(first_s)} of {len(forests)} steps done"
        say(f"compiled: given up after {config.limit_s:g} s, with {done}")
    except RuntimeError as error:  # that of a machine without a C++ compiler, say
        say(f"compiled: {sentence(error)}")
    found: dict[str, float | int | str] = {"num_steps": len(forests), "num_compiled_steps": len(first_s)}
    found |= {f"{way}_step_s": float(np.median(each)) for way, each in times_s.items()}
    if "compiled" in times_s:
        found["compilation_s"] = sum(first_s) - sum(times_s["compiled"])
        found["speedup"] = sum(times_s["eager"]) / sum(times_s["compiled"])
    show_table(f"{len(forests)} steps of {option.encoder().name}", ["what", ""], list(found.items()))
    return found


@contextmanager
def limited(limit_s: float) -> Iterator[None]:
    """``TimeIsUp`` after so many seconds, whatever runs; in the main thread only."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise TimeIsUp

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, limit_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _timed(network: Callable[..., Any], forests: Sequence[ForestTensors]) -> list[float]:
    """Seconds of each step by the clock."""
    times_s = []
    for forest in forests:
        start_s = time.perf_counter()
        network(forest).sum().backward()
        times_s.append(time.perf_counter() - start_s)
    return times_s
