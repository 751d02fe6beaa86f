"""How fast the parts of a tuning run are, each alone and on real candidates."""

from __future__ import annotations

import os
import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from codegen.llvm.build import compile_program, forget_objects
from codegen.measure.measurement import Measurement
from codegen.schedule import Candidates, Space
from costmodel.dataset import FeatureDataset
from costmodel.predictor import Predictor
from scripts.options.models import NeuralOption
from scripts.options.searches import AnnealerConfig
from scripts.tuning.measured_search import PoolMeasurer
from search.annealer import AnnealConfig, Annealer, anneal
from search.arms import make_plan

T = TypeVar("T")


def candidates_rate(space: Space, predictor: Predictor, batch: int, min_s: float = 2.0) -> float:
    """Candidates a second through mutate, lower, featurise and score, in batches of a size."""
    rng = np.random.default_rng(0)
    candidates = space.sample(batch, rng)

    def step() -> None:
        nonlocal candidates
        candidates = space.mutate(candidates, rng)
        predictor.score(candidates)

    return batch * _rate(step, min_s)


def annealing_rate(space: Space, predictor: Predictor, config: AnnealConfig) -> float:
    """Candidates a second of a whole anneal: chains in lockstep, acceptance and the best set included."""
    rng = np.random.default_rng(0)
    nothing = space.enumerate(1)[:0].keys()
    anneal(space, predictor, replace(config, num_steps=3), None, nothing, 64, rng)
    start_s = time.perf_counter()
    result = anneal(space, predictor, config, None, nothing, 64, rng)
    return config.num_chains * (result.num_steps + 1) / (time.perf_counter() - start_s)


def annealed_candidates(space: Space, predictor: Predictor, config: AnnealConfig, num: int) -> Candidates:
    """What the model likes best in a whole anneal."""
    nothing = space.enumerate(1)[:0].keys()
    return Annealer(space, predictor, config).propose(num, nothing, np.random.default_rng(0))


def planned_candidates(space: Space, predictor: Predictor, search: AnnealerConfig, num: int) -> Candidates:
    """What a tuning run compiles first: its plan, sketches without trials and random candidates included."""
    searcher, nothing = search.searcher(space, predictor), space.enumerate(1)[:0]
    return make_plan(space, searcher, True, search.plan, num, nothing, np.random.default_rng(0)).candidates


def compile_times(space: Space, candidates: Candidates) -> list[float]:
    """Seconds from a candidate to a callable, as in a process that has compiled nothing before.

    The first pays for what LLVM sets up once and is left out.
    """
    forget_objects()
    times_s = []
    for row in range(len(candidates)):
        start_s = time.perf_counter()
        compile_program(space.lower(candidates, row), space.target)
        times_s.append(time.perf_counter() - start_s)
    return times_s[1:]


def compile_metrics(
    space: Space, predictor: Predictor, annealer: AnnealerConfig, num: int
) -> dict[str, float]:
    """Random candidates, those that the model prefers, and a tuning run's first plan, which mixes them."""
    random_s = compile_times(space, space.sample(num + 1, np.random.default_rng(0)))
    annealed_s = compile_times(space, annealed_candidates(space, predictor, annealer.anneal, num + 1))
    planned_s = compile_times(space, planned_candidates(space, predictor, annealer, num + 1))
    return {
        "compile_median_s": median(random_s),
        "compile_max_s": max(random_s),
        "compile_random_median_s": median(random_s),
        "compile_annealed_median_s": median(annealed_s),
        "compile_plan_median_s": median(planned_s),
    }


def trial_rate(measurer: PoolMeasurer, num: int) -> tuple[float, list[Measurement]]:
    """Trials a second (build, check and time) on random candidates, the task being prepared already."""
    candidates = measurer.space.sample(num + 1, np.random.default_rng(0))
    for _ in measurer.measure(candidates[:1]):
        pass
    start_s = time.perf_counter()
    measurements = list(measurer.measure(candidates[1:]))
    return num / (time.perf_counter() - start_s), measurements


def epoch_time(option: NeuralOption, loss: object, data: FeatureDataset) -> float:
    """Seconds of the second of two epochs of training: without what is set up once."""
    marks_s: dict[int, float] = {}

    def on_step(done: int, total: int, loss: float) -> None:
        marks_s[done] = time.perf_counter()

    training = replace(option.training, num_epochs=2)
    replace(option, training=training).build(loss).fit(data, np.random.default_rng(0), on_step)
    last = max(marks_s)
    return marks_s[last] - marks_s[last // 2]


def peak_bytes(work: Callable[[], T]) -> tuple[T, int]:
    """What ``work`` returns, and the most memory that this process and its descendants held meanwhile.

    Resident pages, looked at every 20 ms; those that processes share count for each. Linux only.
    """
    peak, is_over = _resident_bytes(), threading.Event()

    def watch() -> None:
        nonlocal peak
        while not is_over.wait(0.02):
            peak = max(peak, _resident_bytes())

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        result = work()
    finally:
        is_over.set()
        watcher.join()
    return result, max(peak, _resident_bytes())


def median(values: list[float]) -> float:
    """The median; ValueError for no values."""
    if not values:
        raise ValueError("there is no median of no values")
    return statistics.median(values)


def _resident_bytes() -> int:
    waiting, pages = [os.getpid()], 0
    while waiting:
        process = Path("/proc") / str(waiting.pop())
        try:
            pages += int((process / "statm").read_text().split()[1])
            for thread in (process / "task").iterdir():
                waiting += map(int, (thread / "children").read_text().split())
        except OSError:  # it has just ended
            continue
    return pages * os.sysconf("SC_PAGE_SIZE")


def _rate(step: Callable[[], None], min_s: float) -> float:
    """Steps a second, over at least ``min_s`` seconds after three steps of warming up."""
    for _ in range(3):
        step()
    num, start_s = 0, time.perf_counter()
    while (elapsed_s := time.perf_counter() - start_s) < min_s:
        step()
        num += 1
    return num / elapsed_s
