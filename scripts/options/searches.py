"""The config group ``search``: what proposes the trials of ``tune.py``, with its plan and budget."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from search.annealer import AnnealConfig, Annealer
from search.arms import PlanConfig
from search.differential_evolution import DifferentialEvolution, DifferentialEvolutionConfig
from search.exhaustive import ExhaustiveSearch
from search.genetic import GeneticConfig, GeneticSearch
from search.guided import GuidedConfig, GuidedSearch
from search.local_search import LocalSearch, LocalSearchConfig
from search.measured_annealing import MeasuredAnnealing, MeasuredAnnealingConfig
from search.protocols import Objective, Searcher, Space
from search.random_search import RandomSearch
from search.tpe import TreeParzenSearch
from search.trials import TuneConfig


class SearchOption(Protocol):
    """A choice of the group ``search``, a dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def measure(self) -> bool:
        """Whether candidates are timed; for a GPU they can be ranked, compiled and verified without."""

    @property
    def uses_model(self) -> bool:
        """Whether the model is asked, and refitted after each plan."""

    def budget(self) -> TuneConfig:
        """What the tuning loop needs to know."""

    def searcher(self, space: Space, objective: Objective) -> Searcher:
        """A searcher at the start of its run."""


@dataclass(frozen=True, kw_only=True)
class Budgeted:
    """Budget in trials, seconds or both, and whether trials are timed, as every option has it.

    With ``stop_gain`` the run ends before a plan that should save a smaller share of the best latency, judged
    by what the last ``gain_window`` trials saved (``search.trials.expected_gain``).
    """

    trials: int = 128
    max_elapsed_s: float | None = None
    stop_gain: float | None = None
    gain_window: int = TuneConfig.gain_window
    measure: bool = True
    plan: PlanConfig = field(default_factory=PlanConfig)

    def __post_init__(self) -> None:
        if self.stop_gain is not None and not self.measure:
            raise ValueError(
                f"search.stop_gain={self.stop_gain} judges trials; search.measure=false has none"
            )
        self.budget()

    def budget(self) -> TuneConfig:
        """What the tuning loop needs to know."""
        return TuneConfig(
            num_trials=self.trials,
            max_elapsed_s=self.max_elapsed_s,
            plan=self.plan,
            stop_gain=self.stop_gain,
            gain_window=self.gain_window,
        )


@dataclass(frozen=True, kw_only=True)
class OftenPlanned(Budgeted):
    """A search that learns from trials alone goes on after every few of them."""

    plan: PlanConfig = field(default_factory=lambda: PlanConfig(num_trials=8, epsilon=0.0))


@dataclass(frozen=True, kw_only=True)
class AnnealerConfig(Budgeted):
    """The parallel annealer, asking the model."""

    anneal: AnnealConfig = field(default_factory=AnnealConfig)
    uses_model: ClassVar[bool] = True

    def searcher(self, space: Space, objective: Objective) -> Searcher:
        return Annealer(space, objective, self.anneal)


@dataclass(frozen=True, kw_only=True)
class EvolutionConfig(Budgeted):
    """Ansor's evolutionary search: generations under the model, the best of which are measured."""

    genetic: GeneticConfig = field(default_factory=lambda: GeneticConfig(population=512))
    guided: GuidedConfig = field(default_factory=GuidedConfig)
    uses_model: ClassVar[bool] = True

    def searcher(self, space: Space, objective: Objective) -> Searcher:
        return GuidedSearch(space, objective, lambda: GeneticSearch(space, self.genetic), self.guided)


@dataclass(frozen=True, kw_only=True)
class RandomConfig(Budgeted):
    """Uniform random search, which no model guides."""

    uses_model: ClassVar[bool] = False

    def searcher(self, space: Space, objective: Objective) -> Searcher:
        return RandomSearch(space)


@dataclass(frozen=True, kw_only=True)
class ExhaustiveConfig(OftenPlanned):
    """The first ``limit`` points of the space, in its order."""

    limit: int = 1_000_000
    uses_model: ClassVar[bool] = False

    def searcher(self, space: Space, objective: Objective) -> Searcher:
        return ExhaustiveSearch(space, self.limit)


@dataclass(frozen=True, kw_only=True)
class GeneticOption(OftenPlanned):
    """Genetic search on measurements alone."""

    genetic: GeneticConfig = field(default_factory=GeneticConfig)
    uses_model: ClassVar[bool] = False

    def searcher(self, space: Space, objective: Objective) -> Searcher:
        return GeneticSearch(space, self.genetic)


@dataclass(frozen=True, kw_only=True)
class LocalSearchOption(OftenPlanned):
    """Local search with restarts on measurements alone."""

    local_search: LocalSearchConfig = field(default_factory=LocalSearchConfig)
    uses_model: ClassVar[bool] = False

    def searcher(self, space: Space, objective: Objective) -> Searcher:
        return LocalSearch(space, self.local_search)


@dataclass(frozen=True, kw_only=True)
class DifferentialEvolutionOption(OftenPlanned):
    """Differential evolution on measurements alone."""

    evolution: DifferentialEvolutionConfig = field(default_factory=DifferentialEvolutionConfig)
    uses_model: ClassVar[bool] = False

    def searcher(self, space: Space, objective: Objective) -> Searcher:
        return DifferentialEvolution(space, self.evolution)


@dataclass(frozen=True, kw_only=True)
class MeasuredAnnealingOption(OftenPlanned):
    """Simulated annealing on measurements alone."""

    annealing: MeasuredAnnealingConfig = field(default_factory=MeasuredAnnealingConfig)
    uses_model: ClassVar[bool] = False

    def searcher(self, space: Space, objective: Objective) -> Searcher:
        return MeasuredAnnealing(space, self.annealing)


@dataclass(frozen=True, kw_only=True)
class TreeParzenOption(OftenPlanned):
    """Optuna's tree-structured Parzen estimator on measurements alone (extra ``optuna``)."""

    uses_model: ClassVar[bool] = False

    def searcher(self, space: Space, objective: Objective) -> Searcher:
        return TreeParzenSearch(space)


SEARCH_OPTIONS: dict[str, type[Any]] = {
    "annealer": AnnealerConfig,
    "evolution": EvolutionConfig,
    "random": RandomConfig,
    "exhaustive": ExhaustiveConfig,
    "genetic": GeneticOption,
    "local_search": LocalSearchOption,
    "differential_evolution": DifferentialEvolutionOption,
    "measured_annealing": MeasuredAnnealingOption,
    "tpe": TreeParzenOption,
}
"""By the name of their file in ``configs/search``."""


def annealer_of(search: SearchOption, purpose: str) -> AnnealerConfig:
    """The option itself; ValueError if it is another search, which ``purpose`` has no use for."""
    if not isinstance(search, AnnealerConfig):
        given = [name for name, option in SEARCH_OPTIONS.items() if isinstance(search, option)]
        raise ValueError(f"{purpose} needs search=annealer, got search={''.join(given)}")
    return search
