"""The command ``ppuda-like finetune``: parse, call, print."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import torch
import tyro
from torch import nn

from ppuda_like._cli_options import Images
from ppuda_like._cli_train_net import Changes, TrainNet
from ppuda_like._seeds import derived_seed
from ppuda_like.errors import PpudaLikeError
from ppuda_like.ghn import GHN, kaiming_init, predicted_init
from ppuda_like.vision import ImageSource, NetTrainConfig, n_shot

__all__ = ["Finetune"]


@dataclass(frozen=True, kw_only=True)
class Finetune(TrainNet):
    """Train a network from predicted parameters; a run that was stopped goes on from its last checkpoint."""

    model: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")] = None
    """A torchvision name, package.module:factory, or file.py:factory."""
    images: Annotated[Images, tyro.conf.arg(name="")]
    out: Path
    """Folder that the run writes to."""
    start: Literal["predicted", "kaiming", "default"] = "predicted"
    """Weights to start from: predicted ones, or random ones to compare with, by Kaiming's rule or the model's own."""
    ghn: str = "ghn2-digits"
    """What predicts: a bundled checkpoint or a .safetensors file."""
    shots: int | None = None
    """Training images of each class; by default all."""
    orth: bool = False
    """Make predicted weights orthogonal."""
    noise: float = 0.0
    """Noise in channels that are copies of others, relative to the correlations of channels; 1e-5 is published."""
    first_layer: int = 0
    """Number of the first weight that is made orthogonal or noisy."""
    preset: Literal["sgd50", "darts", "imagenet", "finetune"] = "finetune"
    """The recipe, where the options below do not say otherwise."""
    changes: Annotated[Changes, tyro.conf.arg(name="")]

    def _load(self) -> tuple[ImageSource, ImageSource, ImageSource]:
        train, val, test = super()._load()
        return (train if self.shots is None else n_shot(train, self.shots)), val, test

    def _initialise(self, model: nn.Module, config: NetTrainConfig, num_classes: int) -> None:
        if self.init is not None:
            raise PpudaLikeError(
                f"fine-tuning starts from predicted or random weights; to start from '{self.init}', take: "
                "ppuda-like train-net --preset finetune"
            )
        generator = torch.Generator().manual_seed(derived_seed(config.seed, "start"))
        if self.start != "predicted":
            if self.orth or self.noise:
                raise PpudaLikeError(f"'--orth' and '--noise' are for predicted weights (got --start {self.start})")
            if self.start == "kaiming":
                kaiming_init(model, generator)
            return
        size = self.images.image_size
        report = predicted_init(
            model,
            GHN.from_pretrained(self.ghn),
            input_shape=(1, 3, size, size),
            orth=self.orth,
            noise=self.noise,
            first_layer=self.first_layer,
            generator=generator,
        )
        print(report)
