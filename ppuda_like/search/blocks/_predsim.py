"""Local losses that also compare activations with labels by their similarities (PredSim)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from ppuda_like.graph import Shape
from ppuda_like.search.blocks._auxiliary_net import AuxiliaryNet, as_map

__all__ = ["PredSim", "similarity_matrix"]

_EPS = 1e-8


class PredSim(AuxiliaryNet):
    """A prediction loss and a similarity loss (Nokland and Eidnes, arXiv:1901.06656).

    The prediction branch pools the map, height and width halved in turn, to at most ``features`` numbers and classifies
    them linearly.  The similarity branch is a 3 x 3 convolution (a linear layer for tokens and vectors) whose
    similarity matrix is drawn to that of the labels.  The loss is 0.01 times the cross entropy of the first plus 0.99
    times the mean squared difference of the matrices.

    Args:
        shape: of one activation: (C, H, W), (L, C) or (C,).
        num_classes: number of classes.
        features: 512 times the ``feat_mult`` of SEDONA's networks.
        weight: of the similarity loss; the prediction loss has the rest.
    """

    def __init__(self, shape: Shape, num_classes: int, *, features: int = 512, weight: float = 0.99) -> None:
        super().__init__()
        channels, height, width = (*shape, 1, 1)[:3] if len(shape) != 2 else (shape[1], 1, shape[0])
        kernel = [1, 1]
        sizes, axis = [height, width], 0
        while channels * sizes[0] * sizes[1] > features and max(sizes) > 1:
            if sizes[axis] > 1:
                sizes[axis], kernel[axis] = -(-sizes[axis] // 2), 2 * kernel[axis]
            axis = 1 - axis
        self.kernel = kernel[0], kernel[1]
        self.weight = weight
        self.num_classes = num_classes
        self.classifier = nn.Linear(channels * sizes[0] * sizes[1], num_classes)
        self.similarity: nn.Module
        if len(shape) == 3:
            self.similarity = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        else:
            self.similarity = nn.Linear(channels, channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, classes) of the prediction branch."""
        x = F.avg_pool2d(as_map(x), self.kernel, ceil_mode=True, count_include_pad=False)
        found: Tensor = self.classifier(x.flatten(1))
        return found

    def loss(self, x: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> tuple[Tensor, Tensor]:
        """The weighted sum of both losses, and the logits; labels are never smoothed."""
        logits = self(x)
        wanted = similarity_matrix(F.one_hot(labels, self.num_classes).to(logits.dtype))
        similarity = F.mse_loss(similarity_matrix(as_map(self.similarity(x))), wanted)
        return (1 - self.weight) * F.cross_entropy(logits, labels) + self.weight * similarity, logits


def similarity_matrix(x: Tensor) -> Tensor:
    """Cosine similarity of each two members of a batch, centred: shape (n, n), in [-1, 1].

    A map (n, C, H, W) with C > 3 and H > 1 (or W > 1) is first reduced to the standard deviation of each channel.

    Args:
        x: shape (n, ...).

    Example:
        >>> import torch
        >>> [round(value, 4) for value in similarity_matrix(torch.eye(3))[0].tolist()]
        [1.0, -0.5, -0.5]
    """
    if x.dim() == 4 and x.size(1) > 3 and max(x.shape[2:]) > 1:
        x = x.flatten(2).std(2)
    x = x.flatten(1)
    x = x - x.mean(1, keepdim=True)
    x = x / (_EPS + x.norm(dim=1, keepdim=True))
    return (x @ x.t()).clamp(-1, 1)
