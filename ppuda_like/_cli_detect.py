"""The command ``ppuda-like detect``: parse, call, print."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import torch
import torchvision
import tyro
from torch import nn

from ppuda_like._factories import build_model
from ppuda_like._seeds import derived_seed
from ppuda_like.errors import CheckpointError, DataError
from ppuda_like.ghn import GHN
from ppuda_like.vision import (
    DetectConfig,
    DetectorConfig,
    adapt_small_input,
    detector,
    generate_pedestrians,
    load_weights,
    penn_fudan,
    train_detector,
)

__all__ = ["Detect"]

_MADE_IMAGES = 170  # as many as Penn-Fudan has


@dataclass(frozen=True, kw_only=True)
class Detect:
    """Train Faster R-CNN to find pedestrians, on a classification network with predicted or other weights.

    A run that was stopped goes on after its last complete epoch.
    """

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
    """A torchvision name, package.module:factory, or file.py:factory."""
    ghn: str = "ghn2-digits"
    """What predicts the network's initial weights, a bundled checkpoint or a .safetensors file; "none" for random ones,
    "imagenet" for the trained ones of torchvision, which are downloaded."""
    weights: Path | None = None
    """In the place of these, a .safetensors file of the network's weights."""
    num_classes: int | None = None
    """Outputs of the network's class layer, where the file of its weights needs another number than usual."""
    small_input: bool = False
    """Weaken the stem of a torchvision model as for 32-pixel images: a finer feature map, at more cost."""
    input_size: int | None = None
    """Height and width of the network's usual images, where it does not say so itself."""
    data: str = "generated"
    """Penn-Fudan, the folder or the zip or tar file; or "generated": drawn figures of 96x128 pixels, for trials, which
    go well with --min-size 96 --max-size 128 --anchor-sizes 16 32 64 96 --head-width 128."""
    num_test: int = 50
    """Images to test on; the others are for training."""
    device: str = "cpu"
    """Where to train."""
    parts: Annotated[DetectorConfig, tyro.conf.arg(name="")]
    training: Annotated[DetectConfig, tyro.conf.arg(name="")]

    def run(self) -> None:
        root = self._root()
        train, test = (penn_fudan(root, split, num_test=self.num_test) for split in ("train", "test"))
        model = self._network()
        shape = (1, 3, self.input_size, self.input_size) if self.input_size else None
        start = self._fill(model, shape)
        made = detector(model, config=self.parts, input_shape=shape, seed=self.training.seed).to(self.device)
        cut = made.backbone.cut
        print(f"backbone: {self.model} with {start}, up to {cut.moment}: {cut.channels} channels, stride {cut.stride}")
        print(f"data: {root}: {len(train)} images to train on, {len(test)} to test")
        config = replace(self.training, name=self.training.name or f"{self.model}, {start}")
        result = train_detector(made, config, train, test, log=_print)
        if result.score is not None:
            score = result.score
            print(f"AP {100 * score.ap:.1f} %, AP50 {100 * score.ap50:.1f} %, AP75 {100 * score.ap75:.1f} %")
        if result.finished:
            print(f"{result.steps} steps in {result.seconds:.0f} s, {result.skipped_steps} skipped; {result.weights}")
        else:
            print(f"stopped after {result.epochs} of {config.epochs} epochs; the same command goes on")

    def _root(self) -> Path:
        if self.data != "generated":
            return Path(self.data)
        root = self.training.out / "generated"
        return root if root.is_dir() else generate_pedestrians(root, _MADE_IMAGES)

    def _network(self) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derived_seed(self.training.seed, "network"))
            model = build_model(self.model, self.num_classes)
        return adapt_small_input(model) if self.small_input else model

    def _fill(self, model: nn.Module, shape: tuple[int, ...] | None) -> str:
        """Give the network its initial weights; what they are."""
        if self.weights is not None:
            load_weights(model, self.weights)
            return f"the weights of {self.weights}"
        if self.ghn == "none":
            return f"random weights (seed {self.training.seed})"
        if self.ghn == "imagenet":
            if self.small_input:
                raise DataError("weights trained on ImageNet do not fit a weakened stem; leave --small-input out")
            return _load_imagenet(model, self.model)
        # The features are all that counts, so the class layer may have any size.
        report = GHN.from_pretrained(self.ghn).fill(
            model, input_shape=shape, predict_class_layers=False, bn_train=False
        )
        return f"{report.num_predicted} tensors predicted by {self.ghn}"


def _load_imagenet(model: nn.Module, name: str) -> str:
    if name not in torchvision.models.list_models():
        raise DataError(f"torchvision has no weights trained on ImageNet for '{name}'; give a file with --weights")
    weights = torchvision.models.get_model_weights(name).DEFAULT
    try:
        state = weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
        model.load_state_dict(state)
    except RuntimeError as error:  # what torch raises for a download that is not whole, and for tensors that do not fit
        raise CheckpointError(f"the weights {weights} of torchvision cannot be used: {error}") from error
    return f"the weights {weights}"


def _print(metrics: Mapping[str, float], step: int) -> None:
    line = f"epoch {metrics['epoch']:.0f}, step {step}: loss {metrics.get('loss', float('nan')):.3f}"
    if "val_ap50" in metrics:
        line += f", AP {100 * metrics['val_ap']:.1f} %, AP50 {100 * metrics['val_ap50']:.1f} %"
    print(line, flush=True)
