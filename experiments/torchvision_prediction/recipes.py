"""Which torchvision models get their parameters predicted, and on what they are tried."""

from __future__ import annotations

from dataclasses import dataclass

import torchvision

FAMILIES = {
    "alexnet": "AlexNet",
    "convnext": "ConvNeXt",
    "densenet": "DenseNet",
    "efficientnet": "EfficientNet",
    "googlenet": "GoogLeNet",
    "inception": "Inception",
    "maxvit": "MaxViT",
    "mnasnet": "MNASNet",
    "mobilenetv2": "MobileNetV2",
    "mobilenetv3": "MobileNetV3",
    "regnet": "RegNet",
    "resnet": "ResNet, ResNeXt, Wide ResNet",
    "shufflenetv2": "ShuffleNetV2",
    "squeezenet": "SqueezeNet",
    "swin_transformer": "Swin",
    "vgg": "VGG",
    "vision_transformer": "ViT",
}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What is done to each model.

    Attributes:
        models: torchvision names.
        image_size: pixels of the images for models that take that size; the others get their own.
        num_images: test images to evaluate on, the largest number first that ``tflops`` allows.
        batch_size: images at a time, whose statistics batch normalisation uses.
        tflops: most that the evaluation of one model may cost, in 10^12 floating-point operations, two per
            multiply-accumulate; a model that costs more on the fewest images is predicted and not evaluated.
        seed: of the parameters that are not predicted, and of the choice of images.
    """

    models: tuple[str, ...] = ()
    image_size: int = 32
    num_images: tuple[int, ...] = (250, 64)
    batch_size: int = 64
    tflops: float = 2.5
    seed: int = 0

    def affordable(self, flops: int) -> int:
        """Images to evaluate a model on that takes so many floating-point operations for one; 0 for not at all."""
        return next((count for count in self.num_images if flops * count <= 1e12 * self.tflops), 0)


def full() -> Recipe:
    """Every classification model."""
    return Recipe(models=tuple(torchvision.models.list_models(module=torchvision.models)))


SMOKE = Recipe(
    models=("squeezenet1_1", "resnet18", "regnet_y_400mf", "convnext_tiny", "vit_b_32"),
    num_images=(32, 16),
    batch_size=16,
    tflops=0.02,
)
"""One model of each way to be treated: on the meta device, on the CPU, with kept parameters, and not evaluated."""


def family(name: str) -> str:
    """The family of a torchvision model: the file that defines it."""
    module: str = torchvision.models.get_model_builder(name).__module__
    return FAMILIES.get(module.rpartition(".")[2], module.rpartition(".")[2])
