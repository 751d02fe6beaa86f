"""Kernel Tuner's strategies (extra ``peers``) with their defaults, simulated on the same spaces."""

from __future__ import annotations

import contextlib
import io
import random
import tempfile
import warnings
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from datasets.kernel_tuner import write_kernel_tuner
from scripts.suites.laboratory.contenders import Ground, Trials

STRATEGIES: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "kernel_tuner_random": ("random_sample", {}),
    "kernel_tuner_genetic": ("genetic_algorithm", {}),
    "kernel_tuner_annealing": ("simulated_annealing", {}),
    "kernel_tuner_differential_evolution": ("diff_evo", {}),
    "kernel_tuner_pso": ("pso", {}),
    "kernel_tuner_basin_hopping": ("basinhopping", {}),
    "kernel_tuner_greedy": ("greedy_ils", {}),
}
"""Names here, and the strategy with its options there."""

PEERS = tuple(STRATEGIES)


def has_kernel_tuner() -> bool:
    """Whether the extra is installed."""
    return find_spec("kernel_tuner") is not None


def run_peer(name: str, ground: Ground, num_trials: int, seed: int) -> Trials:
    """One run. A trial is a configuration evaluated for the first time, as in our own runs.

    Differential evolution starts from a Latin hypercube that takes no seed: its runs cannot be repeated.
    """
    from kernel_tuner import tune_kernel

    table = ground.table
    strategy, options = STRATEGIES[name]
    rows = {tuple(places): row for row, places in enumerate(table.positions.tolist())}
    places = [{value: place for place, value in enumerate(known)} for known in table.values]

    def row_of(configuration: Mapping[str, Any]) -> int | None:
        return rows.get(tuple(p[configuration[knob]] for p, knob in zip(places, table.knobs, strict=True)))

    def is_recorded(*given: Any, **named: Any) -> bool:
        """Kernel Tuner passes values by order while it lists the space, and by name later."""
        return row_of(named or dict(zip(table.knobs, given, strict=True))) is not None

    # The option ``seed`` of Kernel Tuner 1.5 is not read: its strategies draw from the global generators.
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cache = Path(folder) / "cache.json"
        write_kernel_tuner(table, cache)
        with contextlib.redirect_stdout(io.StringIO()):
            results, _ = tune_kernel(
                table.kernel,
                "",
                (1,),
                [],
                dict(zip(table.knobs, map(list, table.values), strict=True)),
                restrictions=[is_recorded],
                strategy=strategy,
                strategy_options={"max_fevals": num_trials, **options},
                cache=str(cache),
                simulation_mode=True,
                lang="C",
                quiet=True,
            )
    visited = dict.fromkeys(row_of(result) for result in results)
    order = np.array([row for row in visited if row is not None], np.int64)[:num_trials]
    return Trials(table.times_s[order], np.cumsum(table.costs_s[order]))
