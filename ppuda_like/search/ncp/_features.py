"""What predictors of multi-resolution networks read of a code."""

from __future__ import annotations

import torch
from torch import Tensor

from ppuda_like.search.ncp._layout import LAST, STAGES, STEM
from ppuda_like.search.ncp._multi_resolution_costs import cost_parts

__all__ = ["multi_resolution_features"]

_BLOCKS = [place for stage in STAGES for place in stage.blocks]
_REPEATS = [stage.repeats for stage in STAGES for _ in stage.blocks]
_CHANNELS = [place for stage in STAGES for place in stage.channels]
_BRANCH = [branch for stage in STAGES for branch in range(len(stage.blocks))]


def multi_resolution_features(relaxed: Tensor) -> Tensor:
    """Logarithms of a code's numbers and of what follows from them, (n, 27) -> (n, 59), differentiable.

    Accuracy follows widths, depths and costs by their ratios, hence the logarithms: of the 27 numbers; of FLOPs and
    parameters, of all and of each stage; of the work of the residual blocks at each resolution; of the blocks in a row
    on each branch, the longest and the mean way through all stages, and the number of modules; of the channels of each
    stage together, and of the narrowest place.

    Args:
        relaxed: numbers of codes, positive, not necessarily whole.

    Example:
        >>> code = torch.tensor([[64.0, 64, 2, 2, 64, 2, 2, 2, 64, 64, *[2] * 4, *[64] * 3, *[2] * 5, *[64] * 5]])
        >>> multi_resolution_features(code).shape
        torch.Size([1, 59])
    """
    costs = cost_parts(relaxed)
    depths = relaxed[:, _REPEATS] * relaxed[:, _BLOCKS]
    work = depths * relaxed[:, _CHANNELS].square()
    branch = torch.nn.functional.one_hot(torch.tensor(_BRANCH)).to(relaxed)
    longest, mean, wide, widest = [], [], [], []
    first = 0
    for stage in STAGES:
        in_row = depths[:, first : first + len(stage.blocks)]
        channels = relaxed[:, list(stage.channels)]
        first += len(stage.blocks)
        longest.append(in_row.amax(1))
        mean.append(in_row.mean(1))
        wide.append(channels.sum(1))
        widest.append(channels.amax(1))
    narrowest = torch.stack([*(relaxed[:, place] for place in STEM), *widest]).amin(0)
    modules = relaxed[:, [stage.repeats for stage in STAGES]].sum(1)
    sums = (torch.stack(longest).sum(0), torch.stack(mean).sum(0), modules, *wide, narrowest)
    found: Tensor = torch.cat(
        (
            relaxed[:, : LAST + 1],
            costs.sum(2),
            costs[:, :, 1:-1].flatten(1),
            work @ branch,
            depths,
            torch.stack(sums, dim=1),
        ),
        dim=1,
    ).log()
    return found
