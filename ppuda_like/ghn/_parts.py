"""Parts of weights whose gradients share one buffer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["Parts"]


class Parts:
    """Parts of weights, as one prediction takes them.

    The gradients of all parts of a weight are added up where they belong.  Autograd by itself makes a tensor of zeros
    of the whole weight for each part, which takes as long as all the rest of a prediction's backward pass.

    Example:
        >>> weight = torch.ones(3, 2, requires_grad=True)
        >>> parts = Parts()
        >>> total = parts(weight, (3, 2), (slice(2),)).sum() + parts(weight, (3, 2), (slice(1), slice(1))).sum()
        >>> total.backward()
        >>> weight.grad.tolist()
        [[2.0, 1.0], [1.0, 1.0], [0.0, 0.0]]
    """

    def __init__(self) -> None:
        self._wholes: dict[tuple[int, tuple[int, ...]], tuple[Tensor, Tensor, _Sum]] = {}

    def __call__(self, weight: Tensor, shape: Sequence[int], index: tuple[slice, ...]) -> Tensor:
        """A part of a weight.

        Args:
            weight: what to take a part of.
            shape: that the weight is seen in.
            index: of the part in that shape.
        """
        if not (torch.is_grad_enabled() and weight.requires_grad):
            return weight.view(*shape)[index]
        key = id(weight), tuple(shape)
        if key not in self._wholes:
            total = _Sum()
            self._wholes[key] = weight, _Whole.apply(weight.view(*shape), total), total  # alive, its id is not reused
        found: Tensor = _Part.apply(*self._wholes[key][1:], index)
        return found


class _Sum:
    """Sum of the gradients of the parts seen so far."""

    value: Tensor | None = None


class _Whole(torch.autograd.Function):
    """The weight; its backward runs after those of all its parts."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, total: _Sum) -> Tensor:
        ctx.set_materialize_grads(False)
        ctx.total = total
        return weight.view_as(weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: None) -> tuple[Tensor | None, None]:
        found, ctx.total.value = ctx.total.value, None
        return found, None


class _Part(torch.autograd.Function):
    """A part; its gradient goes into the sum, and none to the weight."""

    @staticmethod
    def forward(ctx: Any, whole: Tensor, total: _Sum, index: tuple[slice, ...]) -> Tensor:
        ctx.set_materialize_grads(False)
        ctx.total, ctx.index, ctx.shape = total, index, whole.shape
        return whole[index]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor | None) -> tuple[None, None, None]:
        if grad is not None:
            if ctx.total.value is None:
                ctx.total.value = grad.new_zeros(ctx.shape)
            ctx.total.value[ctx.index].add_(grad)
        return None, None, None
