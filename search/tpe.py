"""The tree-structured Parzen estimator of Optuna (extra ``optuna``) as a searcher."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from codegen.schedule.candidates import Candidates
from search.digests import digests
from search.population import Population, measured_population, population_from_json
from search.protocols import SearcherState, Space
from search.random_search import draw_distinct, filled

_TRIES = 4
"""Suggestions per proposal; those that were measured before are passed over."""

_MOST_SUGGESTED = 64
"""A suggestion takes as long as there are trials, and in a large plan each knows nothing new: the rest of the
plan is drawn at random."""


class TreeParzenSearch:
    """Suggests positions of knob values; a suggestion moves to the nearest point that the constraints allow.

    Optuna keeps a generator of its own, so a study is made anew from all outcomes and a fresh seed for
    every plan: what is proposed depends on these alone, and a resumed run goes on exactly.
    """

    def __init__(self, space: Space) -> None:
        try:
            import optuna
        except ImportError:
            raise ValueError(
                "search=tpe needs Optuna, install the extra: pip install -e '.[optuna]'"
            ) from None
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._optuna = optuna
        self._space = space
        self._sizes = space.num_values()
        self._known: Population | None = None

    def propose(self, num: int, measured: NDArray[np.void], rng: np.random.Generator) -> Candidates:
        if self._known is None or not num:
            return draw_distinct(self._space, num, measured, rng)
        study = self._study(int(rng.integers(2**31)))
        taken = set(digests(measured).tolist())
        sketches, positions = [], []
        num_suggested = min(num, _MOST_SUGGESTED)
        for _ in range(_TRIES * num_suggested):
            trial = study.ask()
            sketch, place = self._suggest(trial)
            point = self._space.canonical(self._space.nearest(np.array([sketch]), np.array([place], float)))
            digest = int(digests(point.keys())[0])
            if digest not in taken:
                taken.add(digest)
                sketches.append(point.sketches[0])
                positions.append(point.positions[0])
            if len(sketches) == num_suggested:
                break
        width = self._sizes.shape[1]
        chosen = Candidates(np.array(sketches, np.int64), np.array(positions, np.int64).reshape(-1, width))
        return filled(self._space, chosen, num, measured, rng)

    def observe(
        self, candidates: Candidates, latencies_s: NDArray[np.float64], failed: NDArray[np.bool_]
    ) -> None:
        found = measured_population(candidates, latencies_s, failed)
        self._known = found if self._known is None else self._known.joined(found)

    def state(self) -> SearcherState:
        return {} if self._known is None else self._known.to_json()

    def restore(self, state: SearcherState) -> None:
        self._known = population_from_json(state) if state else None

    def _study(self, seed: int) -> Any:
        """A study that knows all outcomes. Failures are as bad as the worst success."""
        assert self._known is not None
        sampler = self._optuna.samplers.TPESampler(seed=seed, constant_liar=True, n_startup_trials=10)
        study = self._optuna.create_study(sampler=sampler)
        fitness = self._known.fitness
        fine = fitness[np.isfinite(fitness)]
        losses = -np.where(np.isfinite(fitness), fitness, fine.min() if len(fine) else 0.0)
        rows = zip(
            self._known.members.sketches.tolist(), self._known.members.positions.tolist(), losses.tolist()
        )
        for sketch, positions, loss in rows:
            distributions = self._distributions(sketch)
            values = {name: positions[int(name.split(".")[-1])] for name in distributions if name != "sketch"}
            if "sketch" in distributions:
                values["sketch"] = sketch
            study.add_trial(
                self._optuna.trial.create_trial(params=values, distributions=distributions, value=loss)
            )
        return study

    def _suggest(self, trial: Any) -> tuple[int, list[int]]:
        num_sketches, width = self._sizes.shape
        sketch = trial.suggest_categorical("sketch", list(range(num_sketches))) if num_sketches > 1 else 0
        positions = [0] * width
        for name, distribution in self._distributions(sketch).items():
            if name != "sketch":
                positions[int(name.split(".")[-1])] = trial.suggest_int(name, 0, distribution.high)
        return sketch, positions

    def _distributions(self, sketch: int) -> dict[str, Any]:
        """Parameters by name: ``<sketch>.<knob number>`` for every knob with a choice."""
        kinds = self._optuna.distributions
        found: dict[str, Any] = {}
        if len(self._sizes) > 1:
            found["sketch"] = kinds.CategoricalDistribution(list(range(len(self._sizes))))
        for column, size in enumerate(self._sizes[sketch].tolist()):
            if size > 1:
                found[f"{sketch}.{column}"] = kinds.IntDistribution(0, size - 1)
        return found
