"""Some images of a source: chosen ones, or a few of each class."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ppuda_like._seeds import derived_seed
from ppuda_like.errors import DataError
from ppuda_like.vision._data import ImageSource
from ppuda_like.vision._derived import Derived

__all__ = ["Subset", "n_shot", "subset"]


@dataclass(frozen=True, eq=False)
class Subset(Derived):
    """Chosen images of a source, under its classes; :func:`subset` makes one.

    Attributes:
        source: the images chosen from.
        index: positions of the chosen ones in it, shape (N,), long.
    """

    index: Tensor

    @property
    def labels(self) -> Tensor:
        """Class of each image, shape (N,), long."""
        return self.source.labels[self.index]

    def __len__(self) -> int:
        """Number of images."""
        return len(self.index)

    def pixels(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Images (n, 3, H, W), of bytes or of floats in 0..1, and labels (n,) at the positions ``index`` (n,)."""
        return self.source.pixels(self.index[index])

    def originals(self, index: Tensor) -> Iterator[Tensor]:
        """Pixels (3, h, w) of each image at the positions ``index`` (n,), as large as the source has them."""
        return self.source.originals(self.index[index])


def subset(source: ImageSource, index: Tensor | Sequence[int]) -> Subset:
    """The images of a source at given positions, in that order.

    Args:
        source: where they come from; nothing is read or copied.
        index: positions, from 0; one may come more than once.

    Raises:
        DataError: if no position is given, they are not whole numbers, or one is not in the source.

    Example:
        >>> from ppuda_like.vision import digits
        >>> some = subset(digits("test"), [3, 1, 4])
        >>> len(some), tuple(some[0][0].shape)
        (3, (3, 32, 32))
    """
    found = torch.as_tensor(index)
    if found.dim() != 1 or not len(found):
        raise DataError(f"'index' must list one position at least (got shape {tuple(found.shape)})")
    if found.is_floating_point() or found.dtype == torch.bool:
        raise DataError(f"'index' must hold whole numbers, the positions (got {found.dtype}); of a mask take nonzero()")
    low, high = int(found.min()), int(found.max())
    if low < 0 or high >= len(source):
        raise DataError(f"positions must be in 0..{len(source) - 1}, one per image of the source (got {low}..{high})")
    return Subset(source, found.long().cpu())


def n_shot(source: ImageSource, n: int, seed: int = 0) -> Subset:
    """``n`` random images of each class, in the order of the source.

    Of one source and seed, those of a smaller ``n`` are among those of a larger one.

    Args:
        source: where they come from.
        n: images of each class.
        seed: of the choice.

    Raises:
        DataError: if a class has fewer images, or ``n`` is not positive.

    Example:
        >>> from ppuda_like.vision import digits
        >>> n_shot(digits("train"), 5).labels.bincount().tolist()
        [5, 5, 5, 5, 5, 5, 5, 5, 5, 5]
    """
    if n < 1:
        raise DataError(f"'n' must be at least 1 image of each class (got {n})")
    labels = source.labels.cpu()
    chosen = []
    for label, name in enumerate(source.class_names):
        members = (labels == label).nonzero()[:, 0]
        if len(members) < n:
            raise DataError(f"class '{name}' has {len(members)} images, fewer than the {n} asked for; lower 'n'")
        generator = torch.Generator().manual_seed(derived_seed(seed, "shots", label))
        chosen.append(members[torch.randperm(len(members), generator=generator)[:n]])
    return subset(source, torch.cat(chosen).sort().values)
