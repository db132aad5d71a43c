"""What an auxiliary network is, and what it reads."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["AuxiliaryNet", "as_map", "smoothed_cross_entropy"]


class AuxiliaryNet(nn.Module):
    """A classifier of a block's output that gives the block a loss of its own."""

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, classes) for activations (n, C, H, W), (n, L, C) or (n, C)."""

    def loss(self, x: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> tuple[Tensor, Tensor]:
        """The block's loss, a scalar, and logits (n, classes), for activations and labels (n,)."""
        logits = self(x)
        return smoothed_cross_entropy(logits, labels, label_smoothing), logits


def as_map(x: Tensor) -> Tensor:
    """Activations as maps (n, C, H, W): tokens (n, L, C) as 1 by L, vectors (n, C) as 1 by 1.

    Example:
        >>> import torch
        >>> as_map(torch.ones(2, 5, 3)).shape, as_map(torch.ones(2, 3)).shape
        (torch.Size([2, 3, 1, 5]), torch.Size([2, 3, 1, 1]))
    """
    if x.dim() == 3:
        return x.transpose(1, 2)[:, :, None]
    return x[:, :, None, None] if x.dim() == 2 else x


def smoothed_cross_entropy(logits: Tensor, labels: Tensor, eps: float = 0.0) -> Tensor:
    """Mean cross entropy with a target of 1 - eps for the true class and eps / (classes - 1) for each other one.

    It equals torch's with ``label_smoothing`` = eps classes / (classes - 1), which spreads its share over all classes.

    Args:
        logits: shape (n, classes).
        labels: shape (n,).
        eps: 0 to 1.

    Example:
        >>> import torch
        >>> logits, labels = torch.tensor([[2.0, 0.0]]), torch.tensor([0])
        >>> round(float(smoothed_cross_entropy(logits, labels, 0.25)), 4)
        0.6269
    """
    if not eps:
        return F.cross_entropy(logits, labels)
    log_p = F.log_softmax(logits, dim=1)
    true = log_p.gather(1, labels[:, None])[:, 0]
    others = log_p.sum(1) - true
    return -((1 - eps) * true + eps / max(1, logits.size(1) - 1) * others).mean()
