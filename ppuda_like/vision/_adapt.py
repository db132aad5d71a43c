"""Torchvision models made for 224-pixel images, adapted to 32-pixel ones."""

from __future__ import annotations

from torch import nn
from torchvision.models import (
    VGG,
    AlexNet,
    ConvNeXt,
    DenseNet,
    GoogLeNet,
    MNASNet,
    MobileNetV2,
    MobileNetV3,
    ResNet,
    ShuffleNetV2,
)

__all__ = ["adapt_small_input"]


def adapt_small_input(model: nn.Module) -> nn.Module:
    """Adapt a torchvision model to small images (32x32) by weakening its stem; in place.

    - ResNet family: ``conv1`` becomes the central 3x3 of its kernel with stride 1 and padding 1; no ``maxpool``.
    - DenseNet: ``features.conv0`` likewise; no ``features.pool0``.
    - MobileNetV2 and V3: stride 1 in every convolution of ``features[0..4]``.
    - VGG: no max-pools among ``features[0..9]``.
    - MNASNet: stride 1 in ``layers[0]``.
    - AlexNet: stride 1 in ``features[0]``; no ``features[2]``.
    - ShuffleNetV2: stride 1 in ``conv1``; no ``maxpool``.  GoogLeNet: likewise with ``maxpool1``.
    - ConvNeXt: stride 1 in the convolution of the stem.

    Any other model is returned as it is.  Adapting twice changes nothing more.

    Returns:
        The model given.

    Example:
        >>> import torch, torchvision
        >>> with torch.device("meta"):
        ...     model = adapt_small_input(torchvision.models.resnet18())
        >>> tuple(model.conv1.weight.shape)
        (64, 3, 3, 3)
    """
    if isinstance(model, ResNet):
        _central_3x3(model.conv1)
        model.maxpool = nn.Identity()
    elif isinstance(model, DenseNet):
        _central_3x3(model.features.conv0)
        model.features.pool0 = nn.Identity()
    elif isinstance(model, MobileNetV2 | MobileNetV3):
        _stride_1(model.features[:5])
    elif isinstance(model, VGG):
        for position, layer in enumerate(model.features[:10]):
            if isinstance(layer, nn.MaxPool2d):
                model.features[position] = nn.Identity()
    elif isinstance(model, MNASNet):
        _stride_1(model.layers[0])
    elif isinstance(model, AlexNet):
        _stride_1(model.features[0])
        model.features[2] = nn.Identity()
    elif isinstance(model, ShuffleNetV2):
        _stride_1(model.conv1)
        model.maxpool = nn.Identity()
    elif isinstance(model, GoogLeNet):
        _stride_1(model.conv1)
        model.maxpool1 = nn.Identity()
    elif isinstance(model, ConvNeXt):
        _stride_1(model.features[0])
    return model


def _central_3x3(conv: nn.Module) -> None:
    if not isinstance(conv, nn.Conv2d):
        raise TypeError(f"expected a 2-D convolution in the stem (got {type(conv).__name__})")
    top, left = ((side - 3) // 2 for side in conv.kernel_size)
    central = conv.weight.detach()[:, :, top : top + 3, left : left + 3].clone()
    conv.weight = nn.Parameter(central, requires_grad=conv.weight.requires_grad)
    conv.kernel_size, conv.stride, conv.padding = (3, 3), (1, 1), (1, 1)
    conv._reversed_padding_repeated_twice = [1, 1, 1, 1]  # torch derives it from the padding when it builds the layer


def _stride_1(module: nn.Module) -> None:
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            layer.stride = (1, 1)
