"""What predictors of multi-resolution networks read of a code."""

from __future__ import annotations

import torch
from torch import Tensor

from ppuda_like.search.ncp._layout import NAMES, STAGES, STEM
from ppuda_like.search.ncp._multi_resolution_costs import cost_parts

__all__ = ["multi_resolution_features"]

_BRANCHES = [(stage, branch) for stage in STAGES for branch in range(len(stage.blocks))]
_EVEN = [(stage, min(branch, len(stage.blocks) - 1)) for stage in STAGES for branch in range(len(STAGES))]
"""As many branches of each stage, the last again where there are fewer: what a maximum is taken over."""


def _picks(places: list[int]) -> Tensor:
    """Matrix that picks numbers of a code; unlike an index, it is quick to differentiate."""
    return torch.nn.functional.one_hot(torch.tensor(places), len(NAMES)).double().T


def _sums_of_numbers() -> Tensor:
    """Matrix from a code to the number of modules, and the channels of each stage."""
    found = torch.zeros(len(NAMES), 1 + len(STAGES), dtype=torch.float64)
    for number, stage in enumerate(STAGES):
        found[stage.repeats, 0] = 1
        found[list(stage.channels), 1 + number] = 1
    return found


def _sums_of_depths() -> Tensor:
    """Matrix from the blocks in a row on each branch to those of the mean way through all stages."""
    return torch.tensor([[1 / len(stage.blocks)] for stage, _ in _BRANCHES], dtype=torch.float64)


_PICKS = torch.cat(
    (
        _picks([stage.repeats for stage, _ in _BRANCHES]),
        _picks([stage.blocks[branch] for stage, branch in _BRANCHES]),
        _picks([stage.channels[branch] for stage, branch in _BRANCHES]),
        _picks([stage.repeats for stage, _ in _EVEN]),
        _picks([stage.blocks[branch] for stage, branch in _EVEN]),
        _picks([stage.channels[branch] for stage, branch in _EVEN]),
        _picks(list(STEM)),
        _sums_of_numbers(),
    ),
    dim=1,
)
_SIZES = [len(_BRANCHES)] * 3 + [len(_EVEN)] * 3 + [len(STEM), 1 + len(STAGES)]
_MEAN_WAY = _sums_of_depths()
_RESOLUTIONS = torch.eye(len(STAGES), dtype=torch.float64)[[branch for _, branch in _BRANCHES]]


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
    picked = torch.split(relaxed @ _PICKS.to(relaxed), _SIZES, dim=1)
    repeats, blocks, channels, even_repeats, even_blocks, even_channels, stem, sums = picked
    depths = repeats * blocks
    longest, widest = (
        even.view(-1, len(STAGES), len(STAGES)).amax(2) for even in (even_repeats * even_blocks, even_channels)
    )
    found: Tensor = torch.cat(
        (
            relaxed,
            costs.sum(2),
            costs[:, :, 1:-1].flatten(1),
            (depths * channels.square()) @ _RESOLUTIONS.to(relaxed),
            depths,
            longest.sum(1, keepdim=True),
            depths @ _MEAN_WAY.to(relaxed),
            sums,
            torch.cat((stem, widest), dim=1).amin(1, keepdim=True),
        ),
        dim=1,
    ).log()
    return found
