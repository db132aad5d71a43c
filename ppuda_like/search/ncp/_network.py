"""The networks of multi-resolution codes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, get_args

import torch
from torch import Tensor, nn
from torchvision.ops import Conv2dNormActivation

from ppuda_like.errors import CodeError
from ppuda_like.search.ncp._multi_resolution_costs import IMAGE_SIZE
from ppuda_like.search.ncp._network_blocks import Fusion, Parallel, resized

if TYPE_CHECKING:
    from ppuda_like.search.ncp._multi_resolution import MultiResolutionCode

__all__ = ["Head", "MultiResolutionNet"]

Head = Literal["classification", "segmentation", "video", "bev", "features"]

_CLASSES: Mapping[str, int] = {"classification": 50, "segmentation": 19, "video": 51}
_FRAMES = 8


class MultiResolutionNet(nn.Module):
    """The network of a code: parallel branches at 1/4 to 1/32 of the image, fused again and again (arXiv:2103.13253).

    What comes out depends on the head, for images (n, in_channels, H, W):

    - ``"classification"``: logits (n, num_classes).  All branches at the lowest resolution, projected to the code's
      last number of channels, and pooled.
    - ``"segmentation"``: logits (n, num_classes, H / 4, W / 4).  All branches at the highest resolution, projected.
    - ``"video"``: logits (n, num_classes) of clips (n, t, in_channels, H, W).  The features of the classification
      head, averaged over the frames: so a clip of any length has the parameters of one image, and t times its costs.
    - ``"bev"``: features (n, last channels, H / 2, W / 2) for the anchor head of a detector in point clouds, as
      PointPillars (arXiv:1812.05784): branches as in segmentation, of a bird's-eye view with ``in_channels``.
    - ``"features"``: the list of the four branches, from the highest resolution down, for detectors that take a
      pyramid; the code's last number of channels is not used.

    Convolutions are initialised as by He et al. (fan out, for ReLU), from torch's global generator.

    Args:
        code: of the network.
        head: what comes out.
        num_classes: of a head with logits; by default that of the benchmark's data: 50, 19 for segmentation
            (Cityscapes), 51 for video (HMDB51).
        in_channels: of the images; by default 3, and 64 for ``"bev"``.
        stem_strides: of the two convolutions of the stem; by default (2, 2), and (2, 1) for ``"bev"``.

    Attributes:
        code: as given.
        head: as given.
        out_channels: of the features that the last layer reads, or, for ``"bev"`` and ``"features"``, of the maps.
        input_shape: of an example input: that for which the benchmark counts, 128 x 128 pixels.

    Raises:
        CodeError: if a head is unknown, or has no classes and ``num_classes`` is given.

    Example:
        >>> import torch
        >>> from ppuda_like.search.ncp import MultiResolutionCode
        >>> code = MultiResolutionCode([8, 8, 1, 1, 8, 1, 1, 1, 8, 8, 1, *[1] * 3, *[8] * 3, 1, *[1] * 4, *[8] * 5])
        >>> net = MultiResolutionNet(code, head="segmentation")
        >>> net(torch.zeros(1, 3, 64, 96)).shape
        torch.Size([1, 19, 16, 24])
    """

    def __init__(
        self,
        code: MultiResolutionCode,
        *,
        head: Head = "classification",
        num_classes: int | None = None,
        in_channels: int | None = None,
        stem_strides: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        if head not in get_args(Head):
            raise CodeError(f"'head' of a network must be one of {', '.join(get_args(Head))} (got {head!r})")
        if num_classes is not None and head not in _CLASSES:
            raise CodeError(f"head '{head}' gives features and has no classes; leave out 'num_classes'")
        self.code, self.head = code, head
        channels = in_channels if in_channels is not None else 64 if head == "bev" else 3
        first, second = stem_strides if stem_strides is not None else (2, 1) if head == "bev" else (2, 2)
        clip = (_FRAMES,) if head == "video" else ()
        self.input_shape = (1, *clip, channels, IMAGE_SIZE, IMAGE_SIZE)
        self.stem = nn.Sequential(
            Conv2dNormActivation(channels, code.stem[0], 3, stride=first),
            Conv2dNormActivation(code.stem[0], code.stem[1], 3, stride=second),
        )
        stages: list[nn.Module] = []
        before: tuple[int, ...] = code.stem[1:]
        for _, blocks, now in code.settings:
            stages += [Fusion(before, now), Parallel(blocks, now)]
            before = now
        self.stages = nn.ModuleList(stages)
        self.out_channels: int | tuple[int, ...] = before if head == "features" else code.last_channel
        self.project = None if head == "features" else Conv2dNormActivation(sum(before), code.last_channel, 1)
        self.classifier = _classifier(head, code.last_channel, num_classes)
        self.apply(_initialise)

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """Logits, features, or a list of them, as the class tells."""
        if self.head == "video":
            return self._of_frames(x)
        maps = self.branches(x)
        if self.head == "features":
            return maps
        return self._logits(self._joined(maps))

    def branches(self, x: Tensor) -> list[Tensor]:
        """The four branches before they are joined, from the highest resolution down."""
        maps = [self.stem(x)]
        for stage in self.stages:
            maps = stage(maps)
        return maps

    def _joined(self, maps: list[Tensor]) -> Tensor:
        assert self.project is not None
        size = maps[0 if self.head in ("segmentation", "bev") else -1].shape[-2:]
        found: Tensor = self.project(torch.cat([resized(x, size) for x in maps], dim=1))
        return found

    def _logits(self, features: Tensor) -> Tensor:
        if self.head == "bev":
            return features
        pooled = features if self.head == "segmentation" else features.mean(dim=(2, 3))
        found: Tensor = self.classifier(pooled)
        return found

    def _of_frames(self, clips: Tensor) -> Tensor:
        if clips.dim() != 5:
            raise CodeError(f"a video network takes clips (n, t, channels, H, W) (got {tuple(clips.shape)})")
        features = self._joined(self.branches(clips.flatten(0, 1))).mean(dim=(2, 3))
        frames: Tensor = features.unflatten(0, clips.shape[:2])  # type: ignore[no-untyped-call]
        found: Tensor = self.classifier(frames.mean(dim=1))
        return found


def _classifier(head: str, channels: int, num_classes: int | None) -> nn.Module:
    if head not in _CLASSES:
        return nn.Identity()
    classes = _CLASSES[head] if num_classes is None else num_classes
    return nn.Conv2d(channels, classes, 1) if head == "segmentation" else nn.Linear(channels, classes)


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
