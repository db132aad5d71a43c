"""The command ``ppuda-like train-net``: parse, call, print."""

from __future__ import annotations

import typing
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Literal, TypedDict

import torch
import tyro
from torch import nn

from ppuda_like._cli_options import Images
from ppuda_like._factories import SMALL_IMAGES, build_for_images
from ppuda_like._memory import keep_freed_memory
from ppuda_like._seeds import derived_seed
from ppuda_like.deepnets import DeepNets, NetworkConfig, ResNetConfig, sample_network
from ppuda_like.errors import DataError, PpudaLikeError
from ppuda_like.vision import (
    ImageSource,
    NetTrainConfig,
    NetTrainResult,
    default_augmentation,
    evaluate,
    load_weights,
    train_net,
)

__all__ = ["Changes", "TrainNet", "report_accuracy"]

_HINTS = typing.get_type_hints(NetTrainConfig)

# The options of the recipe: every value of the config, of which only those that are given replace the recipe's.
Changes = TypedDict(  # type: ignore[misc]  # the keys are not literal
    "Changes", {known.name: _HINTS[known.name] for known in fields(NetTrainConfig) if known.name != "out"}, total=False
)
Changes.__doc__ = NetTrainConfig.__doc__


@dataclass(frozen=True, kw_only=True)
class TrainNet:
    """Train one network on images; a run that was stopped goes on from its last checkpoint."""

    model: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")] = None
    """A torchvision name, package.module:factory, or file.py:factory."""
    images: Annotated[Images, tyro.conf.arg(name="")]
    arch: str | None = None
    """In the place of MODEL, a network of DeepNets: SPLIT:INDEX, or STORE.h5:SPLIT:INDEX."""
    width: int | None = None
    """Channels of the first cells of a network of DeepNets; by default its own."""
    out: Path
    """Folder that the run writes to."""
    preset: Literal["sgd50", "darts", "imagenet", "finetune"] = "sgd50"
    """The recipe, where the options below do not say otherwise."""
    init: Path | None = None
    """Weights to start from, a .safetensors file; by default random ones."""
    new_class_layer: bool = False
    """Whether that file may be for another number of classes; the class layer then starts from random weights."""
    changes: Annotated[Changes, tyro.conf.arg(name="")]

    def run(self) -> None:
        config = self._config()
        keep_freed_memory()
        train, val, test = self._load()
        model = self._model(config, len(train.class_names))
        self._initialise(model, config, len(train.class_names))
        result = train_net(model, config, train, val)
        skipped = f", {result.skipped_steps} steps skipped" if result.skipped_steps else ""
        if not result.finished:
            print(
                f"stopped after {result.epochs} of {config.epochs} epochs ({result.steps} steps{skipped}); "
                "the same command goes on from there"
            )
            return
        print(f"{result.epochs} epochs, {result.seconds / result.epochs:.2f} s each with validation{skipped}")
        report_accuracy(model, test, config, result)

    def _load(self) -> tuple[ImageSource, ImageSource, ImageSource]:
        return self.images.load("train"), self.images.load("val"), self.images.load("test")

    def _initialise(self, model: nn.Module, config: NetTrainConfig, num_classes: int) -> None:
        if self.init is not None:
            kept = load_weights(model, self.init, new_classes=num_classes if self.new_class_layer else None)
            print(f"starts from {self.init}" + (f", but for {', '.join(kept)}" if kept else ""))

    def _config(self) -> NetTrainConfig:
        config: NetTrainConfig = getattr(NetTrainConfig, self.preset)(self.out, **self.changes)
        if "augment" in self.changes or config.augment != "crop":
            return config
        # Crops and flips are of CIFAR-10, where the recipes come from; digits must not be mirrored.
        return replace(config, augment=default_augmentation(self.images.data, self.images.image_size))

    def _model(self, config: NetTrainConfig, num_classes: int) -> nn.Module:
        if (self.model is None) == (self.arch is None):
            raise PpudaLikeError("name the network to train, either MODEL or --arch")
        size = self.images.image_size
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derived_seed(config.seed, "init"))
            if self.arch is not None:
                return self._deepnet(self.arch, config, num_classes, large=size > SMALL_IMAGES)
            if self.width is not None:
                raise PpudaLikeError("'--width' is for networks of DeepNets (--arch); MODEL has its own width")
            return build_for_images(str(self.model), num_classes, size)

    def _deepnet(self, arch: str, config: NetTrainConfig, num_classes: int, *, large: bool) -> nn.Module:
        found = _deepnet_config(arch, large=large).replace(num_classes=num_classes)
        if isinstance(found, NetworkConfig):
            found = found.replace(auxiliary=config.auxiliary > 0)
            # The networks are sampled with batch statistics only, as predicted parameters need them.
            if found.norm is not None and not config.bn_batch_stats:
                found = found.replace(norm="bn-track")
            if self.width is not None:
                found = found.replace(C=self.width)
        elif self.width is not None:
            raise PpudaLikeError(f"'--width' is not for the network {arch}, a ResNet-50")
        return found.build()


def _deepnet_config(arch: str, *, large: bool) -> NetworkConfig | ResNetConfig:
    place, _, index = arch.rpartition(":")
    store, _, split = place.rpartition(":")
    if not split or not index.isdecimal():
        raise PpudaLikeError(f"'--arch' must be SPLIT:INDEX or STORE.h5:SPLIT:INDEX, INDEX from 0 (got '{arch}')")
    if not store:
        return sample_network(split, int(index), is_imagenet_input=large)
    dataset = DeepNets(store, split)
    if int(index) >= len(dataset):
        raise DataError(f"{store}: split '{split}' has networks 0..{len(dataset) - 1} (got {index})")
    return dataset.config(int(index)).replace(is_imagenet_input=large)


def report_accuracy(model: nn.Module, test: ImageSource, config: NetTrainConfig, result: NetTrainResult) -> None:
    """Print the accuracy of the last weights and of the best, on images that played no part in the training."""
    print(f"accuracy on {len(test)} test images of {len(test.class_names)} classes:")
    for name, path in (("last", result.last), ("best", result.best)):
        if path is not None:
            load_weights(model, path)
            found = evaluate(model, test, batch_size=config.val_batch_size)
            print(f"  {name}: top-1 {100 * found.top1:5.1f} %, top-5 {100 * found.top5:5.1f} %  {path}")
