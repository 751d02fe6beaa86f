"""The tree network as a surrogate of a recorded space of matrix products."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from codegen.schedule.candidates import Candidates
from costmodel.dataset import TaskFeatures
from costmodel.encoders.treegru import TreeGRUConfig
from costmodel.knobs.surrogate import SurrogateModel, normal_scores, standardised
from costmodel.knobs.tree_network import TreeNetwork, TreeNetworkConfig, first_of_equal
from costmodel.recorded_gemm import gemm_task
from costmodel.train import RefitConfig, TrainConfig
from tests.costmodel.gemm_space import gemm_table

SMALL = TreeNetworkConfig(
    num_members=2,
    network=TreeGRUConfig(hidden=16, readout=16),
    refit=RefitConfig(num_steps=80, learning_rate=6e-3),
    pretraining=TrainConfig(num_epochs=30),
    num_source_records=256,
)


@cache
def task(device: str = "RTX_3090", speed: float = 1.0) -> TaskFeatures:
    return gemm_task(gemm_table(device, speed))


def targets() -> NDArray[np.float64]:
    times_s = task().latency_s
    return standardised(normal_scores(np.where(np.isnan(times_s), np.inf, times_s)))


def surrogate(seed: int = 0, sources: Sequence[TaskFeatures] = ()) -> TreeNetwork:
    return TreeNetwork(task().trees, SMALL, np.random.default_rng(seed), sources)


def rows(num: int) -> NDArray[np.int64]:
    return np.random.default_rng(1).permutation(512)[:num]


class Points:
    """A candidate's only position is its number."""

    def rows(self, candidates: Candidates) -> NDArray[np.int64]:
        return candidates.positions[:, 0]


def agreement(mean: NDArray[np.float64]) -> float:
    """With the targets, where a trial would tell something."""
    known = np.isfinite(mean)
    return float(np.corrcoef(mean[known], targets()[known])[0, 1])


def test_it_ranks_what_it_has_not_seen() -> None:
    model = surrogate()
    model.fit(rows(100), targets()[rows(100)])
    mean, deviation = model.predict()
    assert agreement(mean) > 0.8
    assert mean.shape == deviation.shape == (512,)
    assert (deviation > 0).all()


def test_another_device_tells_the_order_before_any_trial() -> None:
    mean, _ = surrogate(sources=[task("RTX_2080_Ti", 0.5)]).predict()
    assert agreement(mean) > 0.6


def test_only_one_configuration_of_a_kernel_is_worth_a_trial() -> None:
    assert first_of_equal(task().trees).tolist() == list(range(512))
    twice = task().trees.take(np.repeat(np.arange(512), 2))
    assert first_of_equal(twice).tolist() == np.repeat(np.arange(0, 1024, 2), 2).tolist()
    doubled = TreeNetwork(task().trees.take(np.repeat(np.arange(512), 2)), SMALL, np.random.default_rng(0))
    doubled.fit(np.array([1, 10, 20, 31]), targets()[[0, 5, 10, 15]])
    mean, _ = doubled.predict()
    assert np.isinf(mean[1::2]).all()
    assert np.flatnonzero(np.isinf(mean[::2])).tolist() == [0, 5, 10, 15]


def test_the_same_trials_give_the_same_model_and_what_was_tried_comes_last() -> None:
    found = []
    all_points = Candidates(np.zeros(512, np.int64), np.arange(512)[:, None])
    for _ in range(2):
        model = SurrogateModel(Points(), surrogate(seed=3))
        for num in (10, 30):
            tried = all_points[rows(num)]
            times_s = task().latency_s[rows(num)]
            model.refit(tried, times_s, np.isnan(times_s))
        found.append(model.score(all_points))
    np.testing.assert_array_equal(found[0], found[1])
    assert set(np.argsort(found[0])[:30].tolist()) == set(rows(30).tolist())


@pytest.mark.parametrize("change", [{"num_members": 0}, {"num_source_records": 1}])
def test_impossible_numbers_are_refused(change: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="num_members must be at least 1 and num_source_records 2"):
        TreeNetworkConfig(**change)
