"""The networks of split ``predefined``: a ResNet-50 and a vision transformer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import nn
from torchvision.models import resnet50

from ppuda_like.deepnets._config import NetworkConfig
from ppuda_like.deepnets._error import NetworkError
from ppuda_like.deepnets._genotype import ViT

__all__ = ["ResNetConfig", "predefined_network"]


@dataclass(frozen=True, kw_only=True)
class ResNetConfig:
    """A ResNet-50 (arXiv:1512.03385); for 32x32 images with a 3x3 first convolution and no stride or pooling there.

    Attributes:
        num_classes: outputs.
        is_imagenet_input: whether inputs are 224x224 and not 32x32.
    """

    num_classes: int = 10
    is_imagenet_input: bool = False

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        """Shape of a batch of one image."""
        size = 224 if self.is_imagenet_input else 32
        return (1, 3, size, size)

    def build(self, device: torch.device | str | None = None) -> nn.Module:
        """The network, randomly initialised; it says its ``input_shape``.

        Args:
            device: where to; ``"meta"`` takes no memory.
        """
        with torch.device(device if device is not None else torch.get_default_device()):
            net: nn.Module = resnet50(num_classes=self.num_classes)
            if not self.is_imagenet_input:
                net.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
                net.maxpool = nn.Identity()
        net.input_shape = self.input_shape  # type: ignore[assignment]  # a plain attribute, no tensor
        return net

    def replace(self, **changes: Any) -> ResNetConfig:
        """The same arguments but for some."""
        return replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """The arguments as a dictionary that JSON can hold; :meth:`from_dict` is its inverse."""
        return asdict(self)

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> ResNetConfig:
        """The arguments that :meth:`to_dict` gave."""
        return cls(**found)


def predefined_network(index: int, *, is_imagenet_input: bool = False) -> NetworkConfig | ResNetConfig:
    """Network ``index`` of split ``predefined``: 0, a ResNet-50; 1, a vision transformer of 12 cells.

    Args:
        index: 0 or 1.
        is_imagenet_input: whether for 224x224 images of 1,000 classes and not for 32x32 images of 10.

    Raises:
        NetworkError: if the index is another.
    """
    num_classes = 1000 if is_imagenet_input else 10
    if index == 0:
        return ResNetConfig(num_classes=num_classes, is_imagenet_input=is_imagenet_input)
    if index == 1:
        return NetworkConfig(
            C=128,
            num_classes=num_classes,
            genotype=ViT,
            n_cells=12,
            is_imagenet_input=is_imagenet_input,
            preproc=False,
            C_mult=1,
        )
    raise NetworkError(f"split 'predefined' holds networks 0 (ResNet-50) and 1 (ViT) (got {index})")
