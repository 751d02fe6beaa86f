"""The searches that the laboratory compares, each with the plan and the model that it is run with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from costmodel.dataset import TaskFeatures
from costmodel.knobs.boosted import BoostedConfig, BoostedTrees
from costmodel.knobs.factors import Factor, knob_factors
from costmodel.knobs.features import knob_features
from costmodel.knobs.gaussian_process import GaussianProcess, GaussianProcessConfig
from costmodel.knobs.guess import Guess, mean_guess
from costmodel.knobs.network import KnobNetwork, KnobNetworkConfig
from costmodel.knobs.surrogate import Promise, Surrogate, SurrogateModel, predicted_gain
from costmodel.knobs.transfer import KnobPoints, guess_from
from costmodel.knobs.tree_network import TreeNetwork, TreeNetworkConfig
from costmodel.recorded_gemm import check_gemm, gemm_task
from datasets.recorded import RecordedTable
from search.annealer import AnnealConfig, Annealer
from search.arms import PlanConfig
from search.differential_evolution import DifferentialEvolution, DifferentialEvolutionConfig
from search.genetic import GeneticConfig, GeneticSearch
from search.guided import GuidedConfig, GuidedSearch
from search.local_search import LocalSearch, LocalSearchConfig
from search.measured_annealing import MeasuredAnnealing, MeasuredAnnealingConfig
from search.protocols import Objective, Searcher, Space
from search.random_search import RandomSearch
from search.replay import Replay
from search.table_space import Knob, TableSpace
from search.tpe import TreeParzenSearch
from search.trials import TuneConfig
from search.tuner import tune

Array = NDArray[np.float64]
ModelName: TypeAlias = Literal["gaussian_process", "boosted", "network", "tree"]
Build: TypeAlias = Callable[[Space, Objective], Searcher]


@dataclass(frozen=True)
class Contender:
    """A way to search. ``model`` None asks none; ``is_pretrained`` starts from sources, if there are any.

    ``promise`` is how it ranks what the model says, by default as ``SurrogateModel``.
    """

    build: Build
    plan: PlanConfig = field(default_factory=lambda: PlanConfig(num_trials=4, epsilon=0.0))
    model: ModelName | None = None
    is_pretrained: bool = False
    promise: Promise | None = None


@dataclass(frozen=True)
class Ground:
    """A recorded space that searches are tried on; ``sources`` are what a pretrained model may learn from.

    ``num_source_records`` None takes all records of a source.
    """

    name: str
    table: RecordedTable
    sources: tuple[RecordedTable, ...] = ()
    num_source_records: int | None = None

    @cached_property
    def space(self) -> TableSpace:
        knobs = [
            Knob(name, values, all(isinstance(value, (int, float)) for value in values))
            for name, values in zip(self.table.knobs, self.table.values, strict=True)
        ]
        return TableSpace(knobs, self.table.positions)

    @cached_property
    def features(self) -> Array:
        return knob_features(self.table.values, self.table.positions)

    @cached_property
    def factors(self) -> list[Factor]:
        return knob_factors(self.table.values, self.table.positions)

    @cached_property
    def task(self) -> TaskFeatures:
        """The points as feature trees; ValueError as ``gemm_task``."""
        return gemm_task(self.table)

    @cached_property
    def source_tasks(self) -> tuple[TaskFeatures, ...]:
        """What the sources measured, as feature trees."""
        return tuple(map(gemm_task, self.sources))

    @property
    def is_looked_up(self) -> bool:
        """Whether ``guesses`` draws nothing at random: every record of sources with the same knobs counts."""
        return self.num_source_records is None and self.has_sources_of_same_knobs

    @property
    def has_sources_of_same_knobs(self) -> bool:
        """Whether no source is of another kernel, or of a version with other knobs."""
        names = {name.lower() for name in self.table.knobs}
        return all({name.lower() for name in source.knobs} == names for source in self.sources)

    def guesses(self, rng: np.random.Generator) -> list[Guess]:
        """What each source says."""
        points = KnobPoints(names=self.table.knobs, values=self.table.values, positions=self.table.positions)
        return [guess_from(source, points, self.num_source_records, rng) for source in self.sources]


@dataclass(frozen=True)
class Trials:
    """One run: per trial the time found (NaN for a failure) and the tuning time spent so far, seconds."""

    times_s: Array
    elapsed_s: Array


def run_contender(contender: Contender, ground: Ground, num_trials: int, seed: int) -> Trials:
    """One search on one recorded space through the tuning loop that real runs go through."""
    rng = np.random.default_rng(seed)
    table = ground.table
    replay = Replay(ground.space, table.times_s, table.failures, table.costs_s)
    guesses = ground.guesses(rng) if contender.is_pretrained else []
    model = None
    if contender.model is not None:
        surrogate = _SURROGATES[contender.model](ground, guesses, seed)
        is_doubtful = any(guess.doubt is not None for guess in guesses)
        model = SurrogateModel(
            ground.space, surrogate, mean_guess(guesses), is_doubtful, promise=contender.promise
        )
    found = tune(
        space=ground.space,
        searcher=contender.build(ground.space, model or Unranked()),
        measurer=replay,
        model=model,
        config=TuneConfig(num_trials=num_trials, plan=contender.plan),
        rng=rng,
        clock=replay.clock,
    )
    times = [np.nan if trial.latency_s is None else trial.latency_s for trial in found.history]
    return Trials(np.array(times), np.array([trial.elapsed_s for trial in found.history]))


class Unranked:
    """All alike: for searches that ask no objective."""

    def score(self, candidates: object) -> Array:
        raise AssertionError("a search without a model asked for scores")


def source_order(ground: Ground, num_trials: int, seed: int) -> Trials:
    """The control of pretraining: the points in the order of the mean guess, nothing learnt on the way."""
    guess = mean_guess(ground.guesses(np.random.default_rng(seed)))
    if guess is None:
        raise ValueError(f"{ground.name} has no sources whose order could be walked")
    rows = np.argsort(guess, kind="stable")[:num_trials]
    return Trials(ground.table.times_s[rows], np.cumsum(ground.table.costs_s[rows]))


def _gaussian_process(ground: Ground, guesses: Sequence[Guess], seed: int) -> Surrogate:
    del seed
    is_telling = ground.has_sources_of_same_knobs
    return GaussianProcess(ground.factors, GaussianProcessConfig(), guesses, learns_kernel=is_telling)


def _columns(guesses: Sequence[Guess]) -> Array | None:
    return np.stack([guess.mean for guess in guesses], axis=1) if guesses else None


def _boosted(ground: Ground, guesses: Sequence[Guess], seed: int) -> Surrogate:
    return BoostedTrees(ground.features, BoostedConfig(), np.random.default_rng(seed), _columns(guesses))


def _network(ground: Ground, guesses: Sequence[Guess], seed: int) -> Surrogate:
    sizes = ground.space.num_values()[0].tolist()
    generator = torch.Generator().manual_seed(seed)
    network = KnobNetwork(ground.table.positions, sizes, KnobNetworkConfig(), generator)
    guess = mean_guess(guesses)
    if guess is not None:
        network.pretrain(guess)
    return network


def _tree(ground: Ground, guesses: Sequence[Guess], seed: int) -> Surrogate:
    config = TreeNetworkConfig()
    if ground.num_source_records is not None:
        config = replace(config, num_source_records=ground.num_source_records)
    sources = ground.source_tasks if guesses else ()
    return TreeNetwork(ground.task.trees, config, np.random.default_rng(seed), sources)


_SURROGATES: Mapping[ModelName, Callable[[Ground, Sequence[Guess], int], Surrogate]] = {
    "gaussian_process": _gaussian_process,
    "boosted": _boosted,
    "network": _network,
    "tree": _tree,
}


RANKED_WHOLE = 65_536
"""Points of a space that the annealer scores whole, without a draw; in larger ones it walks."""


def _annealer(space: Space, objective: Objective) -> Searcher:
    return Annealer(space, objective, AnnealConfig(rank_whole_limit=RANKED_WHOLE, coverage_weight=0.0))


def _diverse_annealer(space: Space, objective: Objective) -> Searcher:
    return Annealer(space, objective, AnnealConfig(rank_whole_limit=65_536))


def _walking_annealer(space: Space, objective: Objective) -> Searcher:
    config = AnnealConfig(num_chains=64, num_steps=60, patience=10, coverage_weight=0.0)
    return Annealer(space, objective, config)


def _guided_genetic(space: Space, objective: Objective) -> Searcher:
    def inner() -> Searcher:
        return GeneticSearch(space, GeneticConfig(population=128))

    return GuidedSearch(space, objective, inner, GuidedConfig(round_size=512, coverage_weight=0.0))


CLOSE = PlanConfig(num_trials=1, epsilon=0.0)
"""A model that learns within milliseconds is refitted after every trial."""

NEAR = PlanConfig(num_trials=4, epsilon=0.0)
"""Where searching under the model takes longer than learning."""

SPARSE = PlanConfig(num_trials=20, epsilon=0.05)

# ``annealer_sure`` is the default but for uncertainty; ``annealer_diverse`` is ``annealer_batched`` with the
# selection of the paper. In plans of one trial there is nothing to diversify. ``annealer_tree`` knows the
# points as loop trees, which only CLBlast's matrix product has.
CONTENDERS: Mapping[str, Contender] = {
    "random": Contender(lambda space, _: RandomSearch(space), PlanConfig(num_trials=20, epsilon=0.0)),
    "annealing": Contender(lambda space, _: MeasuredAnnealing(space, MeasuredAnnealingConfig())),
    "genetic": Contender(lambda space, _: GeneticSearch(space, GeneticConfig())),
    "local_search": Contender(lambda space, _: LocalSearch(space, LocalSearchConfig())),
    "differential_evolution": Contender(
        lambda space, _: DifferentialEvolution(space, DifferentialEvolutionConfig())
    ),
    "tpe": Contender(lambda space, _: TreeParzenSearch(space), PlanConfig(num_trials=10, epsilon=0.0)),
    "annealer": Contender(_annealer, CLOSE, "gaussian_process"),
    "annealer_walking": Contender(_walking_annealer, NEAR, "gaussian_process"),
    "annealer_sure": Contender(_annealer, CLOSE, "gaussian_process", promise=predicted_gain),
    "annealer_batched": Contender(_annealer, SPARSE, "gaussian_process"),
    "annealer_diverse": Contender(_diverse_annealer, SPARSE, "gaussian_process"),
    "annealer_boosted": Contender(_annealer, SPARSE, "boosted"),
    "annealer_network": Contender(_annealer, SPARSE, "network"),
    "annealer_tree": Contender(_annealer, SPARSE, "tree"),
    "genetic_guided": Contender(_guided_genetic, NEAR, "gaussian_process"),
    "annealer_pretrained": Contender(_annealer, CLOSE, "gaussian_process", is_pretrained=True),
    "annealer_boosted_pretrained": Contender(_annealer, SPARSE, "boosted", is_pretrained=True),
    "annealer_network_pretrained": Contender(_annealer, SPARSE, "network", is_pretrained=True),
    "annealer_tree_pretrained": Contender(_annealer, SPARSE, "tree", is_pretrained=True),
}

DEFAULT, PRETRAINED = "annealer", "annealer_pretrained"

SOURCE_ORDER = "source_order"
"""The control arm of pretraining, which is no search of its own."""


def why_left_out(search: str, ground: Ground) -> str | None:
    """Why a search cannot take part on a space; None if it can."""
    contender = CONTENDERS.get(search)
    if contender is None or contender.model != "tree":
        return None
    try:
        for table in (ground.table, *(ground.sources if contender.is_pretrained else ())):
            check_gemm(table)
    except ValueError as error:
        return f"{search} is left out on {ground.name}: {error}"
    return None
