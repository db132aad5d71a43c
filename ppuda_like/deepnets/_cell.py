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

    An output that no input can reach (all ways to it lead through ``none``) is None, and so is what is made of
    nothing but such outputs.  In a concatenation with others it becomes zeros.

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
        self._ops = nn.ModuleList(
            OPS[op].build(channels, plan.stride if state < 2 else 1, norm) for op, state in self.edges
        )

    def forward(self, first: Tensor | None, second: Tensor | None, drop_path_rate: float = 0.0) -> Tensor | None:
        states = [
            None if first is None else self.preprocess0(first),
            None if second is None else self.preprocess1(second),
        ]
        for step in range(0, len(self.edges), 2):
            terms = [self._term(place, states, drop_path_rate) for place in (step, step + 1)]
            alive = [term for term in terms if term is not None]
            states.append(sum(alive[1:], start=alive[0]) if alive else None)
        outputs = [states[state] for state in self.concat]
        shape_of = next((output for output in outputs if output is not None), None)
        if shape_of is None:
            return None
        filled = [torch.zeros_like(shape_of) if output is None else output for output in outputs]
        return torch.cat(filled, dim=1) if len(filled) > 1 else filled[0]

    def _term(self, place: int, states: list[Tensor | None], drop_path_rate: float) -> Tensor | None:
        name, state = self.edges[place]
        x = states[state]
        if x is None or name == "none":
            return None
        op = self._ops[place]
        out: Tensor = op(x)
        if self.training and drop_path_rate > 0 and not isinstance(op, nn.Identity):
            out = drop_path(out, drop_path_rate)
        return out
