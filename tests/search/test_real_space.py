"""The searchers on spaces of real operators, whose points often lower to equal kernels."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from codegen.ops import make_operator
from codegen.schedule import Space, build_space
from codegen.schedule.candidates import Candidates, concatenate
from search.annealer import AnnealConfig, Annealer, anneal
from search.exhaustive import ExhaustiveSearch
from search.protocols import Objective, Searcher
from search.random_search import RandomSearch
from tests.targets import make_target

CONVOLUTION = {"height": 56, "width": 56, "in_channels": 64, "out_channels": 64, "kernel": 3, "padding": 1}


class NearTheMiddle:
    """Prefers the third value of every knob: a landscape that no compiler decides."""

    def score(self, candidates: Candidates) -> NDArray[np.float64]:
        return -np.abs(candidates.positions - 2.0).sum(axis=1)


def conv_space() -> Space:
    program = make_operator("conv2d", CONVOLUTION).program()
    return build_space(program, make_target(16, 32), winograd=False)  # with few knobs all are near the middle


def searchers(space: Space, objective: Objective) -> list[Searcher]:
    config = AnnealConfig(num_chains=32, num_steps=40)
    return [
        Annealer(space, objective, config),
        RandomSearch(space),
        ExhaustiveSearch(space, limit=2_000),
    ]


@pytest.mark.parametrize("number", range(3))
def test_a_convolution_gets_full_plans_of_distinct_legal_kernels(number: int) -> None:
    space, rng = conv_space(), np.random.default_rng(0)
    searcher = searchers(space, NearTheMiddle())[number]
    measured = space.enumerate(1)[:0]
    for _ in range(3):
        proposed = searcher.propose(32, measured.keys(), rng)
        assert len(proposed) == 32
        measured = concatenate([measured, proposed])
    assert len(np.unique(measured.keys())) == 96
    np.testing.assert_array_equal(space.canonical(measured).keys(), measured.keys())
    named = [space.named(measured, row) for row in range(len(measured))]
    np.testing.assert_array_equal(space.decode(named).keys(), measured.keys())  # refuses what is outside


@pytest.mark.parametrize("number", range(3))
def test_a_small_operator_is_searched_to_its_end(number: int) -> None:
    space = build_space(make_operator("softmax", {"rows": 6, "cols": 10}).program(), make_target())
    kernels = np.unique(space.canonical(space.enumerate(2_000)).keys())
    searcher = searchers(space, NearTheMiddle())[number]
    proposed = searcher.propose(space.count() + 1, kernels[:0], np.random.default_rng(0))
    np.testing.assert_array_equal(np.sort(proposed.keys()), kernels)


def test_annealing_a_convolution_finds_more_than_sampling_it() -> None:
    space, rng = conv_space(), np.random.default_rng(0)
    nothing = space.enumerate(1)[:0].keys()
    found = anneal(space, NearTheMiddle(), AnnealConfig(num_steps=100), None, nothing, 64, rng)
    drawn = space.sample(128 * (found.num_steps + 1), rng)
    assert np.median(found.scores) > NearTheMiddle().score(drawn).max()
