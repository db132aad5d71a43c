"""Losses of predictors, for all members of an ensemble at once: values, and order.

Shapes: B graphs, E members.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["Loss", "member_loss", "ranking_loss", "squared_loss"]

Loss = Literal["mse", "rank", "both"]
"""What a predictor learns: values, order, or both (the sum of the two losses)."""


def member_loss(predicted: Tensor, target: Tensor, weight: Tensor, loss: Loss) -> Tensor:
    """The loss of each member, ``(E,)``.

    Args:
        predicted: ``(B, E)``.
        target: ``(B,)``.
        weight: how much each graph counts for each member, ``(B, E)``; 0 for those it does not learn from.
        loss: which.
    """
    found = torch.zeros(predicted.size(1), dtype=predicted.dtype)
    if loss in ("mse", "both"):
        found = found + squared_loss(predicted, target, weight)
    if loss in ("rank", "both"):
        found = found + ranking_loss(predicted, target, weight)
    return found


def squared_loss(predicted: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean squared error of each member, ``(E,)``; 0 where no graph counts.  See :func:`member_loss`."""
    return _mean(weight, (predicted - target.unsqueeze(1)).square())


def ranking_loss(predicted: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Mean over pairs with ``target_i > target_j`` of ``log(1 + exp(predicted_j - predicted_i))``, ``(E,)``.

    The logistic loss on pairs of RankNet (doi:10.1145/1102351.1102363).  A pair counts by the product of its weights;
    graphs of equal targets make no pair; 0 where no pair counts.  See :func:`member_loss`.

    Example:
        >>> ordered, reversed_ = torch.tensor([[9.0], [0.0]]), torch.tensor([[0.0], [9.0]])
        >>> target, weight = torch.tensor([1.0, 0.0]), torch.ones(2, 1)
        >>> [round(float(ranking_loss(found, target, weight)), 3) for found in (ordered, reversed_)]
        [0.0, 9.0]
    """
    ordered = (target.unsqueeze(1) > target.unsqueeze(0)).unsqueeze(-1)  # (B, B, 1): row better than column
    pairs = weight.unsqueeze(1) * weight.unsqueeze(0) * ordered
    lead = predicted.unsqueeze(1) - predicted.unsqueeze(0)
    return _mean(pairs.flatten(0, 1), F.softplus(-lead).flatten(0, 1))


def _mean(weight: Tensor, value: Tensor) -> Tensor:
    return (weight * value).sum(0) / weight.sum(0).clamp(min=torch.finfo(weight.dtype).tiny)
