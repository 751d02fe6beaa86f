"""Losses against their definitions, pair by pair."""

from __future__ import annotations

import math

import pytest
import torch

from costmodel.losses import (
    LambdaRank,
    ListMLE,
    LogTimeRegression,
    Loss,
    Mixture,
    PairwiseLogistic,
    RankAndTime,
)

LABELS = torch.tensor([[1.0, 0.5, 0.25, 0.0], [0.9, 1.0, 0.0, 0.0]])
REAL = torch.tensor([[True, True, True, True], [True, True, False, False]])
LOSSES: list[Loss] = [
    PairwiseLogistic(),
    PairwiseLogistic(log_span=0.3),
    LambdaRank(),
    ListMLE(),
    LogTimeRegression(),
    RankAndTime(),
    Mixture(list_mle=0.5),
]


def test_the_pairwise_loss_is_the_weighted_mean_over_pairs() -> None:
    scores = torch.randn(2, 4, generator=torch.Generator().manual_seed(0))
    total = weights = 0.0
    for t in range(2):
        for i in range(4):
            for j in range(4):
                weight = float(LABELS[t, i] - LABELS[t, j])
                if weight > 0 and REAL[t, i] and REAL[t, j]:
                    total += weight * math.log1p(math.exp(float(scores[t, j] - scores[t, i])))
                    weights += weight
    assert float(PairwiseLogistic()(scores, LABELS, REAL)) == pytest.approx(total / weights, rel=1e-5)


def test_the_lambda_loss_weighs_pairs_by_the_change_of_dcg() -> None:
    scores = torch.randn(2, 4, generator=torch.Generator().manual_seed(0))
    total = weights = 0.0
    for t in range(2):
        mine = [i for i in range(4) if REAL[t, i]]
        ranked = sorted(mine, key=lambda i: -float(scores[t, i]))
        discount = {i: 1 / math.log2(2 + ranked.index(i)) for i in mine}
        for i in mine:
            for j in mine:
                gained = max(float(LABELS[t, i] - LABELS[t, j]), 0)
                weight = gained * abs(discount[i] - discount[j])
                total += weight * math.log1p(math.exp(float(scores[t, j] - scores[t, i])))
                weights += weight
    assert float(LambdaRank()(scores, LABELS, REAL)) == pytest.approx(total / weights, rel=1e-5)


def test_the_list_loss_is_the_likelihood_of_the_order() -> None:
    scores = torch.randn(2, 4, generator=torch.Generator().manual_seed(0))
    total, count = 0.0, 0
    for t in range(2):
        order = sorted((i for i in range(4) if REAL[t, i]), key=lambda i: -float(LABELS[t, i]))
        for place in range(len(order) - 1):
            chance = torch.softmax(scores[t, order[place:]], dim=0)[0]
            total -= math.log(float(chance))
            count += 1
    assert float(ListMLE()(scores, LABELS, REAL)) == pytest.approx(total / count, rel=1e-5)


def test_a_mixture_is_the_weighted_sum_of_its_parts() -> None:
    scores = torch.randn(2, 4, generator=torch.Generator().manual_seed(2))
    mixed = Mixture(pairwise=0.5, lambda_rank=0, list_mle=0.25, regression=3)
    parts = ((0.5, PairwiseLogistic()), (0.25, ListMLE()), (3, LogTimeRegression()))
    expected = sum(weight * float(loss(scores, LABELS, REAL)) for weight, loss in parts)
    assert float(mixed(scores, LABELS, REAL)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("weights", [{"pairwise": -1.0}, {"lambda_rank": 0.0, "regression": 0.0}])
def test_weights_that_mix_nothing_are_refused(weights: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="weights of losses"):
        Mixture(**weights)


def test_regression_is_zero_for_log_speed_up_to_a_constant_per_task() -> None:
    scores = LABELS.clamp(min=1e-6).log() + torch.tensor([[3.0], [-7.0]])
    assert float(LogTimeRegression()(scores, LABELS, REAL)) == pytest.approx(0, abs=1e-9)
    scores[0, 1] += 1
    assert float(LogTimeRegression()(scores, LABELS, REAL)) > 0.1


@pytest.mark.parametrize("loss", LOSSES)
def test_candidates_that_are_not_real_change_nothing(loss: Loss) -> None:
    scores = torch.randn(2, 4, generator=torch.Generator().manual_seed(1))
    other = scores.clone()
    other[1, 2:] = 1e6
    assert float(loss(scores, LABELS, REAL)) == float(loss(other, LABELS, REAL))


@pytest.mark.parametrize("loss", LOSSES)
def test_the_right_order_costs_less_than_the_wrong_one(loss: Loss) -> None:
    right = LABELS.clamp(min=0.01).log()
    assert float(loss(right, LABELS, REAL)) < float(loss(-right, LABELS, REAL))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("labels", [torch.zeros(1, 3), torch.ones(1, 3)])
def test_nothing_to_compare_costs_nothing_and_has_a_finite_gradient(loss: Loss, labels: torch.Tensor) -> None:
    scores = torch.zeros(1, 3, requires_grad=True)
    value = loss(scores, labels, torch.ones(1, 3, dtype=torch.bool))
    value.backward()
    assert float(value.detach()) == 0
    assert scores.grad is not None
    assert torch.isfinite(scores.grad).all()


@pytest.mark.parametrize("wrong", [{"regression": -1}, {"log_span": -1}])
def test_a_negative_share_or_span_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"-1"):
        RankAndTime(**wrong)


def test_with_a_log_span_slow_pairs_weigh_as_much_as_fast_ones_equally_far_apart() -> None:
    labels = torch.tensor([[1.0, 0.8, 0.05, 0.04]])
    scores = torch.zeros(1, 4, requires_grad=True)
    PairwiseLogistic(log_span=0.1)(scores, labels, torch.ones(1, 4, dtype=torch.bool)).backward()
    assert scores.grad is not None
    fast, _, _, slow = (-scores.grad[0]).tolist()
    assert fast == pytest.approx(-slow)
    weighted = torch.zeros(1, 4, requires_grad=True)
    PairwiseLogistic()(weighted, labels, torch.ones(1, 4, dtype=torch.bool)).backward()
    assert weighted.grad is not None
    assert float(weighted.grad[0, 2]) == pytest.approx(float(weighted.grad[0, 3]), rel=0.05)
    failed = PairwiseLogistic(log_span=9.0)
    real = torch.ones(1, 2, dtype=torch.bool)
    order = torch.tensor([[1.0, -1.0]])
    assert float(failed(order, torch.tensor([[0.5, 0.0]]), real)) < float(
        failed(-order, torch.tensor([[0.5, 0.0]]), real)
    )
