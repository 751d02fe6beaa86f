"""Weights of the bounds of the analytic model of GPUs: found again where they are known, never negative."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from codegen.gpu_device import gpu_device
from codegen.gpu_target import GPU_TARGETS
from codegen.ops import Matmul
from codegen.precision import Precision
from codegen.schedule import Candidates, Space, build_space
from codegen.triton.limits import Limits
from costmodel.gpu_calibration import NUM_TERMS, fit_weights, terms_s
from costmodel.gpu_prior import MIN_TRIALS, GpuPrior
from tests.costmodel.test_gpu_prior import WORK

RNG_SEED = 3
WEIGHTS = np.array([1.5, 2.0, 1.1, 1.3, 0.5, 4.0])


def test_terms_are_the_bounds_and_a_launch() -> None:
    terms = terms_s(WORK, gpu_device("a100"))
    assert terms.shape == (1, NUM_TERMS)
    assert terms[0, 0] >= 1e12 / gpu_device("a100").peak("float32")
    assert terms[0, 1] == terms[0, 2] == terms[0, 3] == 0
    assert terms[0, -1] > 0


def test_weights_that_made_the_times_are_found_again() -> None:
    terms = np.random.default_rng(RNG_SEED).lognormal(-9, 2, (60, NUM_TERMS))
    np.testing.assert_allclose(fit_weights(terms, terms @ WEIGHTS), WEIGHTS, rtol=1e-6)


def test_no_bound_makes_a_kernel_faster() -> None:
    rng = np.random.default_rng(RNG_SEED)
    terms = rng.lognormal(-9, 1, (40, NUM_TERMS))
    assert (fit_weights(terms, rng.lognormal(-9, 1, 40)) >= 0).all()


def test_measurements_count_as_their_importance_says() -> None:
    terms = np.zeros((2, NUM_TERMS))
    terms[:, 0] = 1.0
    heavy = fit_weights(terms, np.array([1.0, 2.0]), np.array([1e6, 1.0]))
    assert heavy[0] == pytest.approx(1.0, rel=1e-3)


@pytest.fixture(scope="module")
def space() -> Space:
    target = replace(GPU_TARGETS["cuda_sm80"], precision=Precision("float16"))
    return build_space(Matmul(m=512, k=1024, n=512).program(), target)  # type: ignore[return-value]


def fitting(space: Space, num: int) -> Candidates:
    drawn = space.sample(8 * num, np.random.default_rng(RNG_SEED))
    rows = np.flatnonzero(Limits(space).fits(drawn))[:num]  # type: ignore[arg-type]
    assert len(rows) == num
    return Candidates(drawn.sketches[rows], drawn.positions[rows])


def measured(space: Space, candidates: Candidates) -> np.ndarray:
    """Times by weights that the analytic model does not have."""
    prior = GpuPrior(space)  # type: ignore[arg-type]
    works = prior._featuriser.facts(candidates).kernels
    return prior._sum(works, prior._terms) @ WEIGHTS  # type: ignore[no-any-return]


def test_the_prior_learns_weights_from_trials(space: Space) -> None:
    candidates = fitting(space, 2 * MIN_TRIALS)
    seconds = measured(space, candidates)
    prior = GpuPrior(space)  # type: ignore[arg-type]
    before = prior.score(candidates)
    failed = np.zeros(len(candidates), dtype=bool)
    failed[MIN_TRIALS:] = True
    prior.refit(candidates, np.where(failed, np.nan, seconds), failed)
    np.testing.assert_allclose(prior.score(candidates), -np.log(seconds), rtol=1e-3)
    assert not np.allclose(before, prior.score(candidates), rtol=1e-2)


def test_few_trials_teach_nothing(space: Space) -> None:
    candidates = fitting(space, MIN_TRIALS - 1)
    prior = GpuPrior(space)  # type: ignore[arg-type]
    before = prior.score(candidates)
    prior.refit(candidates, measured(space, candidates), np.zeros(len(candidates), dtype=bool))
    np.testing.assert_array_equal(prior.score(candidates), before)
