"""The networks of NAS-Bench-201."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from ppuda_like.predictors import NASBENCH201_EDGES, NASBENCH201_OPS
from ppuda_like.search.ncp._cell_costs import CELL_CHANNELS, CELL_CLASSES, CELLS_PER_STAGE

__all__ = ["CellNet"]


class CellNet(nn.Module):
    """The network that NAS-Bench-201 trains with a cell (arXiv:2001.00326, section 2.1), for 32 x 32 pixels.

    A stem, three stages of five cells with 16, 32 and 64 channels, residual blocks of stride 2 between them, and a
    linear classifier on the pooled features.

    Args:
        ops: number of the operation on each of :data:`NASBENCH201_EDGES`.
        num_classes: of the data.

    Attributes:
        input_shape: of one image, (1, 3, 32, 32).

    Example:
        >>> import torch
        >>> CellNet([3, 1, 2, 4, 0, 2])(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 100])
    """

    input_shape = (1, 3, 32, 32)

    def __init__(self, ops: Sequence[int], num_classes: int = CELL_CLASSES) -> None:
        super().__init__()
        first = CELL_CHANNELS[0]
        self.stem = nn.Sequential(nn.Conv2d(3, first, 3, padding=1, bias=False), nn.BatchNorm2d(first))
        parts: list[nn.Module] = []
        before = first
        for channels in CELL_CHANNELS:
            if channels != before:
                parts.append(_Reduction(before, channels))
            parts += [_Cell(ops, channels) for _ in range(CELLS_PER_STAGE)]
            before = channels
        self.cells = nn.Sequential(*parts)
        self.last = nn.Sequential(nn.BatchNorm2d(before), nn.ReLU())
        self.classifier = nn.Linear(before, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, num_classes) of images (n, 3, H, W)."""
        logits: Tensor = self.classifier(self.last(self.cells(self.stem(x))).mean(dim=(2, 3)))
        return logits


def _convolution(ci: int, co: int, kernel: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(ci, co, kernel, stride=stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(co),
    )


class _Nothing(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 0


def _operation(name: str, channels: int) -> nn.Module:
    if name in ("nor_conv_1x1", "nor_conv_3x3"):
        return _convolution(channels, channels, int(name[-1]))
    if name == "avg_pool_3x3":
        return nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)
    return nn.Identity() if name == "skip_connect" else _Nothing()


class _Cell(nn.Module):
    """Four states, each the sum of operations on the earlier ones; the last is the output."""

    def __init__(self, ops: Sequence[int], channels: int) -> None:
        super().__init__()
        self.edges = nn.ModuleList(_operation(NASBENCH201_OPS[op], channels) for op in ops)

    def forward(self, x: Tensor) -> Tensor:
        states = [x]
        for (source, target), operation in zip(NASBENCH201_EDGES, self.edges, strict=True):
            term = operation(states[source])
            if target == len(states):
                states.append(term)
            else:
                states[target] = states[target] + term
        return states[-1]


class _Reduction(nn.Module):
    """A residual block that halves height and width."""

    def __init__(self, ci: int, co: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(_convolution(ci, co, 3, stride=2), _convolution(co, co, 3))
        self.shortcut = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(ci, co, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.shortcut(x) + self.residual(x)
        return found
