"""What every searcher promises. A new one joins by a line in ``SEARCHERS``."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
import pytest
from numpy.typing import NDArray

from codegen.schedule.candidates import Candidates, concatenate
from search.annealer import AnnealConfig, Annealer
from search.differential_evolution import DifferentialEvolution, DifferentialEvolutionConfig
from search.exhaustive import ExhaustiveSearch
from search.genetic import GeneticConfig, GeneticSearch
from search.guided import GuidedConfig, GuidedSearch
from search.local_search import LocalSearch, LocalSearchConfig
from search.measured_annealing import MeasuredAnnealing, MeasuredAnnealingConfig
from search.protocols import Objective, Searcher, Space
from search.random_search import RandomSearch
from search.tpe import TreeParzenSearch
from tests.search.spaces import KnobSpace, TrueScores, rugged_latency_s

Build = Callable[[Space, Objective], Searcher]

SMALL_ANNEAL = AnnealConfig(num_chains=16, num_steps=40, patience=10)
SMALL_GUIDED = GuidedConfig(num_rounds=3, round_size=32)

SEARCHERS: dict[str, Build] = {
    "annealer": lambda space, objective: Annealer(space, objective, SMALL_ANNEAL),
    "random": lambda space, objective: RandomSearch(space),
    "exhaustive": lambda space, objective: ExhaustiveSearch(space),
    "genetic": lambda space, objective: GeneticSearch(space, GeneticConfig(population=6)),
    "local search": lambda space, objective: LocalSearch(space, LocalSearchConfig(patience=8)),
    "differential evolution": lambda space, objective: DifferentialEvolution(
        space, DifferentialEvolutionConfig(population=5)
    ),
    "annealing of measurements": lambda space, objective: MeasuredAnnealing(space, MeasuredAnnealingConfig()),
    "guided genetic": lambda space, objective: GuidedSearch(
        space, objective, lambda: GeneticSearch(space, GeneticConfig(population=8)), SMALL_GUIDED
    ),
    "guided local search": lambda space, objective: GuidedSearch(
        space, objective, lambda: LocalSearch(space, LocalSearchConfig()), SMALL_GUIDED
    ),
    "guided differential evolution": lambda space, objective: GuidedSearch(
        space, objective, lambda: DifferentialEvolution(space, DifferentialEvolutionConfig()), SMALL_GUIDED
    ),
}
if find_spec("optuna"):
    SEARCHERS["tpe"] = lambda space, objective: TreeParzenSearch(space)

SPACES = {
    "two sketches": KnobSpace(sizes=((6, 5, 4), (9, 4, 3))),
    "equal kernels": KnobSpace(sizes=((4, 5, 6), (7, 3)), has_equal_kernels=True),
    "three points": KnobSpace(sizes=((3,),)),
    "one point": KnobSpace(sizes=((1, 1),)),
}


class Constant:
    """All scores equal."""

    def score(self, candidates: Candidates) -> NDArray[np.float64]:
        return np.zeros(len(candidates))


class Broken:
    """NaN, infinities and huge negative scores by turns."""

    def score(self, candidates: Candidates) -> NDArray[np.float64]:
        values = np.array([np.nan, -np.inf, np.inf, -1e30, -3.0])
        return np.take(values, candidates.positions.sum(axis=1) % 5)


OBJECTIVES: dict[str, Objective] = {"true": TrueScores(), "constant": Constant(), "broken": Broken()}


@pytest.fixture(params=SEARCHERS)
def build(request: pytest.FixtureRequest) -> Build:
    return SEARCHERS[request.param]


@pytest.fixture(params=SPACES)
def space(request: pytest.FixtureRequest) -> KnobSpace:
    return SPACES[request.param]


def kernels(space: KnobSpace) -> Candidates:
    points = space.canonical(space.enumerate(10**6))
    return points[np.unique(points.keys(), return_index=True)[1]]


def outcomes(candidates: Candidates) -> tuple[Candidates, NDArray[np.float64], NDArray[np.bool_]]:
    latencies_s = rugged_latency_s(candidates)
    failed = candidates.positions.sum(axis=1) % 3 == 0
    return candidates, np.where(failed, np.nan, latencies_s), failed


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_proposals_are_distinct_canonical_inside_and_as_many_as_asked(
    build: Build, space: KnobSpace, objective: str
) -> None:
    searcher = build(space, OBJECTIVES[objective])
    measured = space.enumerate(1)[:0].keys()
    proposed = searcher.propose(20, measured, np.random.default_rng(1))
    assert len(proposed) == min(20, len(kernels(space)))
    assert len(np.unique(proposed.keys())) == len(proposed)
    assert space.contains(proposed)
    np.testing.assert_array_equal(proposed.keys(), space.canonical(proposed).keys())


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_whole_space_is_proposed_exactly_once_and_then_nothing(
    build: Build, space: KnobSpace, objective: str
) -> None:
    searcher = build(space, OBJECTIVES[objective])
    rng = np.random.default_rng(2)
    measured = space.enumerate(1)[:0]
    for _ in range(20):
        proposed = searcher.propose(max(len(kernels(space)) // 4, 1), measured.keys(), rng)
        if len(proposed) == 0:
            break
        searcher.observe(*outcomes(proposed))
        measured = concatenate([measured, proposed])
    np.testing.assert_array_equal(np.sort(measured.keys()), np.sort(kernels(space).keys()))
    assert len(searcher.propose(5, measured.keys(), rng)) == 0


def test_nothing_is_proposed_when_nothing_is_asked_for(build: Build, space: KnobSpace) -> None:
    searcher = build(space, TrueScores())
    assert len(searcher.propose(0, space.enumerate(1)[:0].keys(), np.random.default_rng(3))) == 0


def test_measured_candidates_are_never_proposed(build: Build) -> None:
    space = KnobSpace()
    measured = space.sample(700, np.random.default_rng(4))
    proposed = build(space, TrueScores()).propose(50, measured.keys(), np.random.default_rng(5))
    assert len(proposed) == 50
    assert not np.isin(proposed.keys(), measured.keys()).any()


def test_the_last_points_of_a_space_are_found(build: Build) -> None:
    space = KnobSpace(sizes=((20, 20, 20),))
    everything = space.enumerate(8_000)
    is_left = np.isin(np.arange(8_000), [17, 4_000, 7_999])
    proposed = build(space, TrueScores()).propose(5, everything[~is_left].keys(), np.random.default_rng(8))
    np.testing.assert_array_equal(np.sort(proposed.keys()), np.sort(everything[is_left].keys()))


def test_the_same_seed_gives_the_same_proposals(build: Build, space: KnobSpace) -> None:
    runs = []
    for _ in range(2):
        searcher, rng = build(space, TrueScores()), np.random.default_rng(6)
        first = searcher.propose(8, space.enumerate(1)[:0].keys(), rng)
        searcher.observe(*outcomes(first))
        runs.append(concatenate([first, searcher.propose(8, first.keys(), rng)]))
    np.testing.assert_array_equal(runs[0].keys(), runs[1].keys())


def test_a_restored_searcher_continues_as_the_original(build: Build) -> None:
    space, rng = KnobSpace(), np.random.default_rng(7)
    original = build(space, TrueScores())
    first = original.propose(8, space.enumerate(1)[:0].keys(), rng)
    original.observe(*outcomes(first))
    restored = build(space, TrueScores())
    restored.restore(json.loads(json.dumps(original.state(), allow_nan=False)))
    twin = np.random.default_rng()
    twin.bit_generator.state = rng.bit_generator.state
    np.testing.assert_array_equal(
        original.propose(30, first.keys(), rng).keys(), restored.propose(30, first.keys(), twin).keys()
    )


def test_a_search_goes_on_from_outcomes_that_it_never_proposed(build: Build, space: KnobSpace) -> None:
    searcher = build(space, TrueScores())
    known = kernels(space)[::2]
    failed = np.arange(len(known)) % 5 == 1
    searcher.observe(known, np.where(failed, np.nan, rugged_latency_s(known)), failed)
    found = searcher.propose(4, known.keys(), np.random.default_rng(0))
    assert not np.isin(found.keys(), known.keys()).any()
    assert len(found) == min(4, len(kernels(space)) - len(known))
