"""Networks that guess the gradient by an activation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ppuda_like._seeds import derived_seed
from ppuda_like.errors import PpudaLikeError
from ppuda_like.graph import Shape
from ppuda_like.search.blocks._auxiliary import initialise
from ppuda_like.search.blocks._auxiliary_net import as_map

if TYPE_CHECKING:
    from ppuda_like.search.blocks._blockwise import BlockwiseModel

__all__ = ["Synthesiser", "synthesisers_for"]


class Synthesiser(nn.Module):
    """Three convolutions that guess the gradient of the loss by an activation (DNI, arXiv:1608.05343).

    The first two are followed by batch normalisation and ReLU; the last starts at 0, and so do its guesses.

    Args:
        shape: of one activation: (C, H, W), (L, C) or (C,).
        num_classes: number of classes.
        conditioned: whether labels help (cDNI): a linear layer of theirs is added to the first convolution.
        hidden: channels of the first two convolutions; None for as many as the activation has.
        kernel: size of the convolutions, odd; tokens get one of this length, vectors one of 1.
    """

    def __init__(
        self,
        shape: Shape,
        num_classes: int,
        *,
        conditioned: bool = False,
        hidden: int | None = None,
        kernel: int = 5,
    ) -> None:
        super().__init__()
        hidden = (shape[1] if len(shape) == 2 else shape[0]) if hidden is None else hidden
        if len(shape) not in (1, 2, 3) or min(*shape, hidden, num_classes) < 1 or kernel < 1 or kernel % 2 == 0:
            raise PpudaLikeError(
                "a synthesiser needs activations (C, H, W), (L, C) or (C,), classes, a positive width and an odd "
                f"kernel (got {tuple(shape)}, num_classes={num_classes}, hidden={hidden}, kernel={kernel})"
            )
        channels = shape[1] if len(shape) == 2 else shape[0]
        size = {3: (kernel, kernel), 2: (1, kernel), 1: (1, 1)}[len(shape)]
        half = (size[0] // 2, size[1] // 2)
        self.num_classes = num_classes
        self.first = nn.Conv2d(channels, hidden, size, padding=half)
        self.label = nn.Linear(num_classes, hidden) if conditioned else None
        self.body = nn.Sequential(
            nn.BatchNorm2d(hidden),
            nn.ReLU(),
            nn.Conv2d(hidden, hidden, size, padding=half),
            nn.BatchNorm2d(hidden),
            nn.ReLU(),
        )
        self.last = nn.Conv2d(hidden, channels, size, padding=half)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        """A gradient, of the shape of the activations (n, ...), for these and labels (n,)."""
        h = self.first(as_map(x))
        if self.label is not None:
            h = h + self.label(F.one_hot(labels, self.num_classes).to(h.dtype))[:, :, None, None]
        found: Tensor = self.last(self.body(h))
        return found[:, :, 0].transpose(1, 2) if x.dim() == 3 else found.view_as(x)


def synthesisers_for(
    model: BlockwiseModel,
    num_classes: int,
    *,
    conditioned: bool = False,
    seed: int = 0,
    hidden: int | None = None,
    kernel: int = 5,
) -> list[Synthesiser]:
    """A synthesiser for each boundary, for the newest value that crosses it, as the method ``"dni"`` takes them.

    Args:
        model: the blocks.
        num_classes: number of classes.
        conditioned: whether labels help (cDNI).
        seed: of the initial weights.
        hidden: see :class:`Synthesiser`.
        kernel: likewise.

    Raises:
        PpudaLikeError: if a width or a kernel is out of range.

    Example:
        >>> from ppuda_like.graph import Partition, trace
        >>> from ppuda_like.search.blocks import split
        >>> net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
        >>> [synthesiser] = synthesisers_for(split(net, Partition.at(trace(net, (2, 4)), ["1"])), 3)
        >>> synthesiser(torch.ones(2, 8), torch.tensor([0, 1])).abs().max().item()
        0.0
    """
    found = []
    for index, shapes in enumerate(model.shapes):
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(derived_seed(seed, "synthesiser", index))
            net = Synthesiser(shapes[-1], num_classes, conditioned=conditioned, hidden=hidden, kernel=kernel)
            initialise(net)
            nn.init.zeros_(net.last.weight)
        found.append(net)
    return found
