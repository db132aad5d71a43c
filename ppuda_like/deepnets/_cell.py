"""One cell of a network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ppuda_like.deepnets._genotype import Genotype
from ppuda_like.deepnets._layers import FactorizedReduce, Norm, ReLUConvNorm, Stride
from ppuda_like.deepnets._ops import OPS
from ppuda_like.deepnets._plan import CellPlan

__all__ = ["Cell", "drop_path"]


def drop_path(x: Tensor, rate: float) -> Tensor:
    """Zero whole samples with probability ``rate`` and scale the others up (arXiv:1605.07648).

    Args:
        x: a batch of feature maps.
        rate: between 0 and 1, 1 left out.
    """
    keep = torch.empty((x.size(0), *[1] * (x.dim() - 1)), dtype=x.dtype, device=x.device).bernoulli_(1 - rate)
    return x * keep / (1 - rate)


class Cell(nn.Module):
    """A cell: it reads the outputs of the two cells before it and makes one feature map.

    Only what lies between the network's input and its output is computed, so that parameters elsewhere are never
    touched.  A state that the input does not reach (all ways to it lead through ``none``) is zeros in a concatenation.

    Args:
        genotype: what the cells of the network are made of.
        plan: the widths of this one.
        norm: as of the network.
        preproc: whether 1x1 convolutions bring the inputs to the width of the cell.
    """

    def __init__(self, genotype: Genotype, plan: CellPlan, *, norm: Norm, preproc: bool) -> None:
        super().__init__()
        channels = plan.channels
        self.preprocess0: nn.Module
        self.preprocess1: nn.Module
        if preproc:
            self.preprocess0 = (
                FactorizedReduce(plan.c_prev_prev, channels, norm)
                if plan.shrink_first
                else ReLUConvNorm(plan.c_prev_prev, channels, (1, 1), 1, norm)
            )
            self.preprocess1 = ReLUConvNorm(plan.c_prev, channels, (1, 1), 1, norm)
        else:
            self.preprocess0 = Stride() if plan.shrink_first else nn.Identity()
            self.preprocess1 = nn.Identity()
        self.edges, self.concat = genotype.cell(plan.reduction)
        self.live = plan.live
        self._reads = {state for (_, state), live in zip(self.edges, plan.live, strict=True) if live}
        self._ops = nn.ModuleList(
            OPS[op].build(channels, plan.stride if state < 2 else 1, norm) for op, state in self.edges
        )

    def forward(self, first: Tensor | None, second: Tensor | None, drop_path_rate: float = 0.0) -> Tensor | None:
        """The cell's output, or None if the network's output does not depend on it.

        Args:
            first: output of the cell before the previous one; None if that is not needed.
            second: output of the previous cell; None if that is not needed.
            drop_path_rate: probability of dropping an edge, in training.
        """
        states: dict[int, Tensor] = {}
        for state, x, preprocess in ((0, first, self.preprocess0), (1, second, self.preprocess1)):
            if state in self._reads and x is not None:
                states[state] = preprocess(x)
        for place, op in enumerate(self._ops):
            if self.live[place]:
                term: Tensor = op(states[self.edges[place][1]])
                if self.training and drop_path_rate > 0 and not isinstance(op, nn.Identity):
                    term = drop_path(term, drop_path_rate)
                target = place // 2 + 2
                states[target] = states[target] + term if target in states else term
        alive = [states[state] for state in self.concat if state in states]
        if not alive:
            return None
        if len(self.concat) == 1:
            return alive[0]
        return torch.cat([states[state] if state in states else torch.zeros_like(alive[0]) for state in self.concat], 1)
