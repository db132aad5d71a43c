"""Every path of a cell, run as a tree: paths that begin alike share what they begin with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from ppuda_like.search.dna._supernet import CellNet, recalibrating

__all__ = ["MEASURES", "distances", "rate_paths"]

MEASURES = ("relative_l1", "mse", "relative_mse", "l1_over_mean", "root_mse_over_variance")
"""What is measured; see :class:`CellRatings`."""

_EPSILON = 1e-9

Path = tuple[int, ...]


def rate_paths(
    net: CellNet,
    calibration: Tensor,
    inputs: Sequence[Tensor],
    targets: Sequence[Tensor],
    skip: Callable[[Path], bool] = lambda prefix: False,
) -> Iterator[tuple[Path, Tensor]]:
    """Distances of all paths of a cell from their targets, in the order of the indices of paths.

    The tree of prefixes is walked depth first; each prefix runs its last operation once on the features of the one
    before, which are kept.  Batch norms are given the statistics that they have, by this very prefix, on the
    calibration batch.  A cell of L layers and n operations so runs n + n^2 + ... + n^L of them instead of L * n^L.

    Args:
        net: the cell.
        calibration: inputs of the stage for the statistics, shape (m, channels, height, width).
        inputs: batches of inputs of the stage.
        targets: features of the teacher behind the stage, for each batch.
        skip: whether to leave out all paths that begin with a prefix.

    Yields:
        A path, and its distances, shape (batches, measures), float64, on the CPU.
    """
    moments = [_moments(target) for target in targets]

    def walk(prefix: Path, calibrated: Tensor, batches: list[Tensor]) -> Iterator[tuple[Path, Tensor]]:
        if len(prefix) == len(net.layers):
            with torch.no_grad():
                outputs = [net.adapt_out(batch) for batch in batches]
                found = [_distances(*given) for given in zip(outputs, targets, moments, strict=True)]
            yield prefix, torch.stack(found).cpu()
            return
        operations = net.layers[len(prefix)]
        assert isinstance(operations, nn.ModuleList)
        for op, module in enumerate(operations):
            longer = (*prefix, op)
            if not skip(longer):
                yield from walk(longer, *_run(module, calibrated, batches))

    yield from walk((), *_run(nn.Sequential(net.first, net.adapt_in), calibration, list(inputs)))


def distances(output: Tensor, target: Tensor) -> Tensor:
    """Each of :data:`MEASURES` of an output from its target, shape (measures,), float64."""
    return _distances(output, target, _moments(target))


@torch.no_grad()
def _run(module: nn.Module, calibration: Tensor, batches: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
    with recalibrating(module):
        calibrated = module(calibration)
    return calibrated, [module(batch) for batch in batches]


def _moments(target: Tensor) -> Tensor:
    """Variance of all elements, and their mean absolute value."""
    target = target.double()
    return torch.stack([target.var(), target.abs().mean()])


def _distances(output: Tensor, target: Tensor, moments: Tensor) -> Tensor:
    difference = output.float() - target.float()
    mse, l1 = difference.square().mean().double(), difference.abs().mean().double()
    variance, size = moments
    return torch.stack(
        [
            l1 / (variance.sqrt() + _EPSILON),
            mse,
            mse / (variance + _EPSILON),
            l1 / (size + _EPSILON),
            mse.sqrt() / (variance + _EPSILON),
        ]
    )
