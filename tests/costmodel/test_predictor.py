"""The predictor: the model on one space, learning as it is tuned."""

from __future__ import annotations

import numpy as np
import pytest

from codegen.schedule import Candidates
from costmodel.dataset import TaskFeatures
from costmodel.encoders.baselines import RooflineModel
from costmodel.encoders.treegru import TreeGRUConfig
from costmodel.features.featurise import featurise
from costmodel.native import NativeScorer
from costmodel.neural import NeuralModel
from costmodel.predictor import Predictor
from costmodel.train import RefitConfig, TrainConfig
from tests.costmodel.synthetic import dataset, runtime, sample, space_of, task

SPACE = "conv2d"


CONFIG = TreeGRUConfig(hidden=16, readout=16)
REFIT = RefitConfig(num_steps=80, learning_rate=3e-3)


def fresh() -> NeuralModel:
    return NeuralModel(
        TreeGRUConfig(hidden=16, readout=16), refit=RefitConfig(num_steps=80, learning_rate=3e-3)
    )


@pytest.fixture(scope="module")
def trained() -> NeuralModel:
    training = TrainConfig(num_epochs=3, candidates_per_task=40)
    model = NeuralModel(
        TreeGRUConfig(hidden=16, readout=16), training, RefitConfig(num_steps=80, learning_rate=3e-3)
    )
    model.fit(dataset("matmul", "depthwise"), np.random.default_rng(0))
    return model


def latencies(candidates: Candidates) -> np.ndarray:
    return 1e-6 * runtime(featurise(space_of(SPACE), candidates))


def test_native_scores_are_the_networks(trained: NeuralModel) -> None:
    candidates = sample(SPACE, 700)
    through_trees = trained.score(featurise(space_of(SPACE), candidates))
    np.testing.assert_allclose(
        Predictor(trained, space_of(SPACE)).score(candidates), through_trees, atol=1e-5
    )


@pytest.mark.parametrize("num_threads", [1, 3])
def test_scores_do_not_depend_on_company_or_threads(trained: NeuralModel, num_threads: int) -> None:
    candidates = sample(SPACE, 300)
    predictor = Predictor(trained, space_of(SPACE), num_threads=num_threads)
    scores = predictor.score(candidates)
    order = np.random.default_rng(0).permutation(300)
    np.testing.assert_array_equal(predictor.score(candidates[order]), scores[order])
    alone = [predictor.score(candidates[i : i + 1])[0] for i in range(0, 300, 11)]
    np.testing.assert_array_equal(alone, scores[::11])


def test_models_without_native_code_score_too() -> None:
    predictor = Predictor(RooflineModel(), space_of(SPACE))
    assert predictor.is_fitted
    assert predictor.score(sample(SPACE, 10)).shape == (10,)


def test_no_candidates_have_no_scores(trained: NeuralModel) -> None:
    assert Predictor(trained, space_of(SPACE)).score(sample(SPACE, 1)[:0]).shape == (0,)


def test_a_refit_teaches_the_task(trained: NeuralModel) -> None:
    seen, unseen = sample(SPACE, 100, seed=1), sample(SPACE, 100, seed=2)
    for model in (trained, fresh()):
        predictor = Predictor(model, space_of(SPACE))
        predictor.refit(seen, latencies(seen), np.zeros(100, dtype=bool))
        assert predictor.is_fitted
        agreement = np.corrcoef(predictor.score(unseen), -np.log(latencies(unseen)))[0, 1]
        assert agreement > 0.6


def test_the_state_after_refits_depends_on_the_measurements_alone(trained: NeuralModel) -> None:
    candidates = sample(SPACE, 80)
    often, once = Predictor(trained, space_of(SPACE)), Predictor(trained, space_of(SPACE))
    for num in (20, 50, 80):
        often.refit(candidates[:num], latencies(candidates)[:num], np.zeros(num, dtype=bool))
    once.refit(candidates, latencies(candidates), np.zeros(80, dtype=bool))
    np.testing.assert_array_equal(often.score(candidates), once.score(candidates))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_failures_among_the_measurements_are_survived(trained: NeuralModel, bad: float) -> None:
    candidates = sample(SPACE, 40)
    latency_s = latencies(candidates)
    latency_s[::3] = bad
    predictor = Predictor(trained, space_of(SPACE))
    predictor.refit(candidates, latency_s)
    assert np.isfinite(predictor.score(candidates)).all()


def test_nothing_comparable_leaves_the_model_as_it_is() -> None:
    candidates = sample(SPACE, 5)
    predictor = Predictor(fresh(), space_of(SPACE))
    predictor.refit(candidates, np.full(5, np.nan), np.ones(5, dtype=bool))
    predictor.refit(candidates[:1], np.ones(1), np.zeros(1, dtype=bool))
    assert not predictor.is_fitted


@pytest.mark.parametrize("learning_rate", [1e10, 1e30])
def test_a_refit_that_diverges_leaves_the_model_as_it_is(trained: NeuralModel, learning_rate: float) -> None:
    refit = RefitConfig(num_steps=10, learning_rate=learning_rate)
    model = trained.restored(trained.state())
    model.refit = refit
    predictor = Predictor(model, space_of(SPACE))
    candidates = sample(SPACE, 50)
    before = predictor.score(candidates)
    predictor.refit(candidates, latencies(candidates))
    after = predictor.score(candidates)
    assert np.isfinite(after).all()
    if learning_rate == 1e30:
        np.testing.assert_array_equal(after, before)


def test_a_scorer_of_nothing_has_no_scores(trained: NeuralModel) -> None:
    assert NativeScorer(space_of(SPACE), 2).score(sample(SPACE, 3)[:0]).shape == (0,)


def test_a_model_that_knows_nothing_learns_from_other_tasks_at_once(trained: NeuralModel) -> None:
    predictor = Predictor(fresh(), space_of(SPACE))
    predictor.teach([task("winograd", 60), task("depthwise", 60)])
    assert predictor.is_fitted
    pretrained = Predictor(trained, space_of(SPACE))
    pretrained.teach([task("winograd", 60)])
    assert pretrained.model is trained


def test_what_was_taught_enters_the_next_refit_and_only_the_last_counts(trained: NeuralModel) -> None:
    seen, candidates = sample(SPACE, 30, seed=1), sample(SPACE, 50, seed=2)
    lessons = {"first": [task("depthwise", 60)], "second": [task("winograd", 60)], "none": []}
    scores = {}
    for order in (["second"], ["first", "second"], ["first", "second", "none"], ["none"]):
        predictor = Predictor(trained, space_of(SPACE))
        for name in order:
            predictor.teach(lessons[name])
            predictor.refit(seen, latencies(seen))
        scores[" ".join(order)] = predictor.score(candidates)
    np.testing.assert_array_equal(scores["second"], scores["first second"])
    np.testing.assert_array_equal(scores["none"], scores["first second none"])
    assert not np.array_equal(scores["none"], scores["second"])


def test_failures_alone_are_no_lesson() -> None:
    predictor = Predictor(fresh(), space_of(SPACE))
    known = task("depthwise", 60)
    predictor.teach([TaskFeatures("failed", known.trees, np.full(60, np.nan), known.repeat_pairs)])
    assert not predictor.is_fitted
