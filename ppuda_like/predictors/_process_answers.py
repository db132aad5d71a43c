"""What Gaussian processes answer, all members of an ensemble at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

if TYPE_CHECKING:
    from ppuda_like.predictors._code_process import Process

__all__ = ["ProcessAnswers", "covariance_of"]


class ProcessAnswers(NamedTuple):
    """Processes of as many rows each, stacked: one call of each operation answers for all.

    Attributes:
        rates: (k, 1, f).
        rows: (k, n, f).
        offsets: (k, 1, n), half the squared lengths of the rows.
        weights: (k, n, m).
        basis: (k, p, p).
        amplitude: (k, 1, m).
        noise: (k, 1, 1).
    """

    rates: Tensor
    rows: Tensor
    offsets: Tensor
    weights: Tensor
    basis: Tensor
    amplitude: Tensor
    noise: Tensor

    @classmethod
    def of(cls, processes: Sequence[Process], dtype: torch.dtype) -> ProcessAnswers:
        """The answers of processes, in a precision."""
        rates, rows, weights, basis, amplitude, noise = (
            torch.stack(part).to(dtype) for part in zip(*processes, strict=True)
        )
        offsets = rows.square().sum(2)[:, None] / 2
        return cls(rates[:, None], rows, offsets, weights, basis, amplitude[:, None], noise[:, None, None])

    def mean(self, x: Tensor) -> Tensor:
        """Expected targets, (b, f) -> (k, b, m), differentiable in the rows."""
        return self._answers(x, self.basis[:, :0])[0]

    def mean_and_variance(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Expected targets and the variances of targets to be measured, (b, f) -> (k, b, m) twice, differentiable."""
        mean, explained = self._answers(x, self.basis)
        # The last part below zero is rounding.
        variance = (1 - explained).clamp_min(0)[:, :, None] + self.noise
        return mean, variance * self.amplitude

    def _answers(self, x: Tensor, basis: Tensor) -> tuple[Tensor, Tensor]:
        found: tuple[Tensor, Tensor] = _Answer.apply(x * self.rates, self.rows, self.offsets, self.weights, basis)
        return found


def covariance_of(x: Tensor, rows: Tensor, offsets: Tensor | None = None) -> Tensor:
    """``1 / (1 + d ** 2 / 2)`` of all pairs of two stacks of rows, in as few passes over the large matrix as can be.

    Args:
        x: (k, b, f).
        rows: (k, n, f).
        offsets: (k, 1, n), half the squared lengths of ``rows``, where they are known.
    """
    if offsets is None:
        offsets = rows.square().sum(2)[:, None] / 2
    half = torch.baddbmm(offsets, x, rows.mT, alpha=-1)
    half += 1 + x.square().sum(2, keepdim=True) / 2  # last: what is left of large numbers is small
    return half.clamp_min_(1).reciprocal_()


class _Answer(torch.autograd.Function):
    """Means, and the variance explained, of rows multiplied by the rates.

    Written out, the derivative takes a third of the passes over the large matrix that autograd's takes.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, rows: Tensor, offsets: Tensor, weights: Tensor, basis: Tensor
    ) -> tuple[Tensor, Tensor]:
        covariance = covariance_of(x, rows, offsets)
        known = covariance[:, :, : basis.size(1)] @ basis
        ctx.save_for_backward(x, rows, weights, basis, covariance, known)
        return covariance @ weights, known.square().sum(2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, by_mean: Tensor, by_explained: Tensor) -> tuple[Tensor, None, None, None, None]:
        x, rows, weights, basis, covariance, known = ctx.saved_tensors
        slope = by_mean @ weights.mT
        if basis.size(1):
            slope[:, :, : basis.size(1)] += (2 * by_explained[:, :, None] * known) @ basis.mT
        # The derivative of 1 / (1 + d ** 2 / 2) by a row is its square times the way to the other row.
        slope *= covariance
        slope *= covariance
        return slope @ rows - x * slope.sum(2, keepdim=True), None, None, None, None
