"""Small layers that several parts of a hypernetwork share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn

__all__ = ["MLP"]


class MLP(nn.Module):
    """Linear layers, each but perhaps the last followed by a ReLU; its parameters are ``fc.0``, ``fc.2``, ...

    Args:
        in_features: width of the input.
        widths: width after each linear layer.
        last_relu: whether the last linear layer is followed by a ReLU as well.

    Example:
        >>> import torch
        >>> MLP(4, (8, 2), last_relu=False)(torch.zeros(3, 4)).shape
        torch.Size([3, 2])
    """

    def __init__(self, in_features: int, widths: Sequence[int], *, last_relu: bool) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for width in widths:
            layers += [nn.Linear(in_features, width), nn.ReLU()]
            in_features = width
        self.fc = nn.Sequential(*(layers if last_relu else layers[:-1]))

    def linear(self, index: int) -> nn.Linear:
        """The linear layer of that index."""
        return cast(nn.Linear, self.fc[2 * index])

    def forward(self, x: Tensor) -> Tensor:
        """Features ``(..., widths[-1])`` of ``(..., in_features)``."""
        found: Tensor = self.fc(x)
        return found
