"""The network of the published predictor of codes: a trunk, and a head for each group of metrics."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["CodeMlp"]

_TRUNK, _HEAD = 256, 128
_TRUNK_DROPOUT = 0.5
_LEVELS = 256  # of a random byte


class CodeMlp(nn.Module):
    """Batch norm, then layers of 256 and of 128 for each group, with batch norm, swish and dropout (arXiv:2103.13253).

    The heads are computed together: their first layers are one, their last ones the blocks of one that is zero outside
    of them.  That is the same function, in fewer operations.

    Args:
        num_inputs: numbers of a code.
        groups: number of metrics of each group.
        dropouts: share of the features dropped in the head of each.
        generator: of the initial parameters, torch's usual ones for linear layers.
    """

    mask: Tensor

    def __init__(
        self, num_inputs: int, groups: Sequence[int], dropouts: Sequence[float], generator: torch.Generator
    ) -> None:
        super().__init__()
        width = _HEAD * len(groups)
        self.norm = nn.ModuleList(nn.BatchNorm1d(size) for size in (num_inputs, _TRUNK, width))
        shapes = ((_TRUNK, num_inputs, num_inputs), (width, _TRUNK, _TRUNK), (sum(groups), width, _HEAD))
        self.weight, self.bias = nn.ParameterList(), nn.ParameterList()
        for outputs, inputs, fan in shapes:
            bound = 1 / math.sqrt(fan)
            for parameters, shape in ((self.weight, (outputs, inputs)), (self.bias, (outputs,))):
                parameters.append(nn.Parameter(torch.empty(shape).uniform_(-bound, bound, generator=generator)))
        heads = torch.eye(len(groups))
        mask = heads.repeat_interleave(torch.tensor(groups), 0).repeat_interleave(_HEAD, 1)
        self.register_buffer("mask", mask, persistent=False)
        self._kept = (
            torch.full((_TRUNK,), 1 - _TRUNK_DROPOUT),
            torch.tensor([1 - dropout for dropout in dropouts]).repeat_interleave(_HEAD),
        )

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Normalised metrics of normalised codes, (n, inputs) -> (n, metrics).

        Args:
            x: the codes.
            generator: of dropout; needed in training.
        """
        trunk = F.silu(self.norm[1](F.linear(self.norm[0](x), self.weight[0], self.bias[0])))
        if generator is not None:
            trunk = trunk * _drawn(len(x), self._kept[0], generator)
        heads = F.silu(self.norm[2](F.linear(trunk, self.weight[1], self.bias[1])))
        if generator is not None:
            heads = heads * _drawn(len(x), self._kept[1], generator)
        return F.linear(heads, self.weight[2] * self.mask, self.bias[2])


def _drawn(num: int, kept: Tensor, generator: torch.Generator) -> Tensor:
    """Factors of dropout, (num, features): the share ``kept`` of a feature's are its reciprocal, the others 0.

    Shares are rounded to 256ths, so that one random number of 64 bits is enough for eight features.
    """
    size = num * len(kept)
    bits = torch.empty(-(-size // 8), dtype=torch.int64).random_(-(2**63), None, generator=generator)
    levels = (kept * _LEVELS).round()
    return (bits.view(torch.uint8)[:size].view(num, -1) < levels) * (_LEVELS / levels)
