"""Features of the shapes of the tensors that nodes hold."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

__all__ = ["ShapeEncoder"]


class ShapeEncoder(nn.Module):
    """Embeddings of the four sizes of a weight: output and input channels, kernel height and width.

    Sizes are looked up in a table of known ones; an unknown size takes the nearest known one.  The last row of each
    table stands for nodes without a shape.

    Args:
        hid: width of the features, a quarter for each size.
        num_classes: a known number of channels.
        max_kernel: kernel sizes up to here are known.

    Example:
        >>> encoder = ShapeEncoder(8, num_classes=10, max_kernel=11)
        >>> encoder(encoder.index([(64, 3, 7, 7), (0, 0, 0, 0)])).shape
        torch.Size([2, 8])
    """

    def __init__(self, hid: int, *, num_classes: int, max_kernel: int) -> None:
        super().__init__()
        channels = sorted({1, 3, num_classes, *range(8, 64, 8), *range(64, 4096, 16), *range(4096, 8193, 32)})
        kernels = sorted({*range(1, max(12, max_kernel), 2), 14, 16})
        self._channels = _nearest(channels, {count: 8 for count in range(4, 8)})
        self._kernels = _nearest(kernels, {2: 3})
        self._dummies = (len(channels), len(kernels))
        self.embed_spatial = nn.Embedding(len(kernels) + 1, hid // 4)
        self.embed_channel = nn.Embedding(len(channels) + 1, hid // 4)

    def index(self, shapes: Sequence[tuple[int, int, int, int]]) -> Tensor:
        """Table rows of each node's sizes, long, of shape ``(num_nodes, 4)``; a shape of zeros is no shape."""
        sizes = np.asarray(shapes, dtype=np.int64).reshape(-1, 4)
        found = np.empty_like(sizes)
        for columns, table, dummy in (
            (slice(0, 2), self._channels, self._dummies[0]),
            (slice(2, 4), self._kernels, self._dummies[1]),
        ):
            found[:, columns] = table[np.minimum(sizes[:, columns], len(table) - 1)]
            found[(sizes == 0).all(axis=1), columns] = dummy
        return torch.from_numpy(found)

    def forward(self, index: Tensor) -> Tensor:
        """Features ``(num_nodes, hid)`` of what :meth:`index` returned."""
        return torch.cat(
            (self.embed_channel(index[:, :2]).flatten(1), self.embed_spatial(index[:, 2:]).flatten(1)), dim=1
        )


def _nearest(known: Sequence[int], exceptions: dict[int, int]) -> npt.NDArray[np.int64]:
    """Row of the nearest of the sorted ``known`` sizes, the lower on a tie, for each size up to the largest."""
    sizes = np.arange(known[-1] + 1)
    table = np.asarray(known)
    above = np.searchsorted(table, sizes)
    below = np.maximum(above - 1, 0)
    found = np.where(table[above] - sizes < sizes - table[below], above, below)
    found[table] = np.arange(len(table))
    for size, instead in exceptions.items():
        if size not in known:
            found[size] = known.index(instead)
    return found
