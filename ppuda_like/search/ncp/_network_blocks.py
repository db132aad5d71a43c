"""Parts of a multi-resolution network."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.resnet import BasicBlock
from torchvision.ops import Conv2dNormActivation

__all__ = ["Fusion", "Parallel", "resized"]


def resized(x: Tensor, size: Sequence[int]) -> Tensor:
    """The map at another size, bilinearly; itself where it has that size."""
    if tuple(x.shape[-2:]) == tuple(size):
        return x
    return F.interpolate(x, size=tuple(size), mode="bilinear", align_corners=False)


class Fusion(nn.Module):
    """Exchanges information between neighbouring resolutions, and may add a lower one.

    A branch that is there already becomes the sum of what comes from the next higher, its own and the next lower
    resolution, rectified; a new one is made from the branch above it, as that comes out of the fusion.

    Args:
        before: channels of the branches that come in, from the highest resolution down.
        now: channels of those that go out; as many or more.
    """

    def __init__(self, before: Sequence[int], now: Sequence[int]) -> None:
        super().__init__()
        there = min(len(before), len(now))
        self.paths = nn.ModuleList(
            nn.ModuleList(_path(before[j], now[i], j - i) for j in _neighbours(i, len(before))) for i in range(there)
        )
        self.added = nn.ModuleList(_path(now[i - 1], now[i], -1) for i in range(there, len(now)))

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Branches, from the highest resolution down, each with half the height and width of the one before."""
        found = []
        for i, paths in enumerate(self.paths):
            assert isinstance(paths, nn.ModuleList)
            terms = [path(maps[j]) for path, j in zip(paths, _neighbours(i, len(maps)), strict=True)]
            total = terms[0]
            for term in terms[1:]:  # sizes differ where a side of the image is no multiple of 32
                total = total + resized(term, total.shape[-2:])
            found.append(F.relu(total))
        for path in self.added:
            found.append(path(found[-1]))
        return found


def _neighbours(branch: int, branches: int) -> list[int]:
    return [j for j in (branch - 1, branch, branch + 1) if 0 <= j < branches]


def _path(ci: int, co: int, lower: int) -> nn.Sequential:
    """What leads to a branch from one that is lower by so many resolutions: -1, 0 or 1."""
    if lower <= 0:
        return nn.Sequential(Conv2dNormActivation(ci, co, 3, stride=2 if lower else 1))
    return nn.Sequential(Conv2dNormActivation(ci, co, 1), nn.Upsample(scale_factor=2, mode="nearest"))


class Parallel(nn.Module):
    """Residual blocks on each branch.

    Args:
        blocks: number of blocks of each branch.
        channels: of each branch.
    """

    def __init__(self, blocks: Sequence[int], channels: Sequence[int]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(*(BasicBlock(c, c) for _ in range(n))) for n, c in zip(blocks, channels, strict=True)
        )

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Branches, each of the shape it has."""
        return [branch(x) for branch, x in zip(self.branches, maps, strict=True)]
