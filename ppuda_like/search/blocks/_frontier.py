"""What one block hands to the next."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

__all__ = ["Frontier"]


class Frontier(NamedTuple):
    """All that crosses a boundary between two blocks.

    The values come in the order of ``Partition.frontiers``, the newest last.  A value that is used several blocks later
    crosses every boundary in between.

    Attributes:
        values: tensors (n, ...) through which gradients would flow.
        passed: what crosses as it is: inputs of the network, integers, tensors computed without parameters.

    Example:
        >>> import torch
        >>> frontier = Frontier((torch.ones(2, 3, requires_grad=True),))
        >>> frontier.newest.requires_grad, frontier.detached().newest.requires_grad
        (True, False)
    """

    values: tuple[Tensor, ...] = ()
    passed: tuple[Any, ...] = ()

    @property
    def newest(self) -> Tensor:
        """The value that was computed last."""
        return self.values[-1]

    def detached(self) -> Frontier:
        """The same values cut off from the blocks that made them."""
        return Frontier(tuple([value.detach() for value in self.values]), self.passed)

    def to(self, device: torch.device | str) -> Frontier:
        """The same on a device."""
        moved = tuple([value.to(device) for value in self.values])
        return Frontier(moved, tuple([one.to(device) if isinstance(one, Tensor) else one for one in self.passed]))
