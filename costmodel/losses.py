"""What training minimises: scores against labels, several tasks at once.

Shapes: ``scores``, ``labels`` and ``is_real`` are (tasks, candidates). Labels are best time / time in
(0, 1], 0 for failures; ``is_real`` is false where a task has fewer candidates than the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

SLOWEST = 50.0
"""What a failure counts as, in times of the best, where logarithms are compared."""


class Loss(Protocol):
    """A mean over pairs or candidates, so that its size does not grow with the batch."""

    def __call__(self, scores: Tensor, labels: Tensor, is_real: Tensor) -> Tensor:
        """A scalar; 0 where there is nothing to learn."""


@dataclass(frozen=True, kw_only=True)
class PairwiseLogistic:
    """RankNet (Burges et al. 2005): the chance of a wrong order, for every pair of one task.

    Pairs weigh as much as their labels differ, so that noise between equals costs nothing and the fast
    end, where labels are far apart, counts most. With ``log_span`` > 0 they weigh as much as log times
    differ, but no more than that: so the slow end counts alike.
    """

    log_span: float = 0.0

    def __post_init__(self) -> None:
        if self.log_span < 0:
            raise ValueError(f"log_span must not be negative, got {self.log_span}")

    def __call__(self, scores: Tensor, labels: Tensor, is_real: Tensor) -> Tensor:
        values = labels.clamp(min=1 / SLOWEST).log() if self.log_span else labels
        difference = values[:, :, None] - values[:, None, :]
        is_pair = is_real[:, :, None] & is_real[:, None, :]
        weights = difference.clamp(min=0, max=self.log_span or None) * is_pair
        losses = functional.softplus(scores[:, None, :] - scores[:, :, None])
        return (weights * losses).sum() / weights.sum().clamp(min=1e-9)


@dataclass(frozen=True, kw_only=True)
class LambdaRank:
    """The pairwise loss, a pair weighing what its exchange would change of DCG (LambdaRank, Burges 2010).

    With gains that are the labels and the discount 1 / log2(1 + rank) of the ranks that the scores give
    now: pairs far down the ranking cost little, whatever their order. The paper's gains are 2^label - 1 of
    grades of relevance, its weights are divided by the DCG of the task's best order, and pairs are added up.
    Ours are not divided, and the loss is the mean by weight over the pairs of all tasks in a step: a task
    counts as much as its order can change, so one whose candidates are nearly all fast counts little.
    """

    def __call__(self, scores: Tensor, labels: Tensor, is_real: Tensor) -> Tensor:
        order = scores.detach().masked_fill(~is_real, -torch.inf).argsort(dim=1, descending=True)
        ranks = order.argsort(dim=1)  # the inverse permutation: 0 for the highest score
        discounts = 1 / torch.log2(ranks + 2.0)
        gained = (labels[:, :, None] - labels[:, None, :]).clamp(min=0)
        is_pair = is_real[:, :, None] & is_real[:, None, :]
        weights = gained * (discounts[:, :, None] - discounts[:, None, :]).abs() * is_pair
        losses = functional.softplus(scores[:, None, :] - scores[:, :, None])
        return (weights * losses).sum() / weights.sum().clamp(min=1e-9)


@dataclass(frozen=True, kw_only=True)
class ListMLE:
    """Minus the log-likelihood of the measured order, drawn one by one by softmax (Xia et al. 2008).

    The mean over candidates that are faster than some other. Ours lets a candidate compete with the slower
    ones alone, not with its equals: which of them the records name first would count else.
    """

    def __call__(self, scores: Tensor, labels: Tensor, is_real: Tensor) -> Tensor:
        is_slower = (labels[:, :, None] > labels[:, None, :]) & is_real[:, :, None] & is_real[:, None, :]
        ahead = scores[:, None, :] - scores[:, :, None]
        # The candidate itself stands in the sum as exp(0) = 1.
        excess = ahead.masked_fill(~is_slower, torch.finfo(scores.dtype).min)
        losses = torch.logsumexp(functional.pad(excess, (1, 0)), dim=2)
        return losses.sum() / is_slower.any(dim=2).sum().clamp(min=1)


@dataclass(frozen=True, kw_only=True)
class LogTimeRegression:
    """Squared error of log(label), up to a constant per task; failures have no time and are left out.

    The constant is left free because a task's best time says more about the task than about schedules.
    """

    def __call__(self, scores: Tensor, labels: Tensor, is_real: Tensor) -> Tensor:
        is_used = is_real & (labels > 0)
        count = is_used.sum(dim=1, keepdim=True).clamp(min=1)
        error = torch.where(is_used, scores - labels.clamp(min=1e-9).log(), torch.zeros_like(scores))
        centred = torch.where(
            is_used, error - error.sum(dim=1, keepdim=True) / count, torch.zeros_like(error)
        )
        return centred.square().sum() / is_used.sum().clamp(min=1)


@dataclass(frozen=True, kw_only=True)
class RankAndTime:
    """Pairwise loss plus ``regression`` times the squared error of log time.

    A share of 2 costs no ranking and keeps predicted times close (``log_span`` 0, three folds over the
    training tasks of an earlier shipped set: pairwise accuracy 0.867 against 0.863 at 0.1, error of log time
    0.12 against 0.31).

    The regression ties the scale of scores to log time, so that one score means as much in every task
    and predicted runtimes can be read off it. ``log_span`` is that of ``PairwiseLogistic``: by default all
    pairs that are a tenth apart or more weigh alike, as two trials of one candidate seldom differ by so much.
    """

    regression: float = 2.0
    log_span: float = 0.1

    def __post_init__(self) -> None:
        if self.regression < 0:
            raise ValueError(f"regression must not be negative, got {self.regression}")
        PairwiseLogistic(log_span=self.log_span)

    def __call__(self, scores: Tensor, labels: Tensor, is_real: Tensor) -> Tensor:
        pairwise = PairwiseLogistic(log_span=self.log_span)(scores, labels, is_real)
        return pairwise + self.regression * LogTimeRegression()(scores, labels, is_real)


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """A weighted sum of losses; those of weight 0 are not computed."""

    pairwise: float = 0.0
    lambda_rank: float = 1.0
    list_mle: float = 0.0
    regression: float = 2.0

    def __post_init__(self) -> None:
        weights = (self.pairwise, self.lambda_rank, self.list_mle, self.regression)
        if min(weights) < 0 or max(weights) == 0:
            raise ValueError(f"weights of losses must not be negative, nor all 0, got {self}")

    def __call__(self, scores: Tensor, labels: Tensor, is_real: Tensor) -> Tensor:
        parts: list[tuple[float, Loss]] = [
            (self.pairwise, PairwiseLogistic()),
            (self.lambda_rank, LambdaRank()),
            (self.list_mle, ListMLE()),
            (self.regression, LogTimeRegression()),
        ]
        terms = [weight * loss(scores, labels, is_real) for weight, loss in parts if weight]
        return torch.stack(terms).sum()
