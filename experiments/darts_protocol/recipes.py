"""The final training of architecture search, as published and small enough for a CPU."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from ppuda_like.deepnets import DARTS, PDARTS, NetworkConfig, sample_network
from ppuda_like.errors import PpudaLikeError
from ppuda_like.vision import Augmentation, NetTrainConfig, cutout, default_augmentation

Variant = Literal["all", "no cutout", "no drop path", "no auxiliary head", "none"]
GENOTYPES = {"DARTS": DARTS, "PDARTS": PDARTS}
VARIANTS: dict[Variant, frozenset[str]] = {
    "all": frozenset({"cutout", "drop path", "auxiliary head"}),
    "no cutout": frozenset({"drop path", "auxiliary head"}),
    "no drop path": frozenset({"cutout", "auxiliary head"}),
    "no auxiliary head": frozenset({"cutout", "drop path"}),
    "none": frozenset(),
}
"""Which of the three regularisers of the protocol are on."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One network, one data set, and how long it is trained.

    Attributes:
        arch: a genotype by name, or SPLIT:INDEX of DeepNets.
        width: initial number of channels.
        n_cells: cells of a genotype; a network of DeepNets has its own number.
        data: a name or path as ``load_images`` takes it.
        image_size: pixels.
        shots: training images of each class, others with each seed, those left over joining the test images; None for
            all.
        all_images: train on the images kept for validation too, as published, and draw the curve on test images; the
            weights reported are the last ones in any case, so that no test image has a say in them.
        epochs: of the training.
        batch_size: images in a step.
        variants: which regularisers are on.
        seeds: of the initial weights, the order of the images and all other randomness.
        amp: arithmetic of the forward pass.
    """

    arch: str = "DARTS"
    width: int
    n_cells: int
    data: str
    image_size: int = 32
    shots: int | None = None
    all_images: bool = False
    epochs: int
    batch_size: int = 96
    variants: tuple[Variant, ...] = tuple(VARIANTS)
    seeds: tuple[int, ...] = (0,)
    amp: Literal["none", "bf16", "fp16"] = "none"

    def config(self, out: Path, variant: Variant, seed: int, *, device: str, workers: int) -> NetTrainConfig:
        """The training; all that is not said here is as published."""
        changes = {} if "drop path" in VARIANTS[variant] else {"drop_path": 0.0}
        changes |= {} if "auxiliary head" in VARIANTS[variant] else {"auxiliary": 0.0}
        return NetTrainConfig.darts(
            out,
            epochs=self.epochs,
            batch_size=self.batch_size,
            augment=self.augmentation(variant),
            seed=seed,
            device=device,
            workers=workers,
            amp=self.amp,
            channels_last=device == "cpu",
            val_batch_size=250,
            **changes,
        )

    def augmentation(self, variant: Variant) -> Augmentation:
        """How the training images vary, before a cutout that :meth:`build` puts into the network, if it does."""
        plain = default_augmentation(self.data, self.image_size)
        return "crop-cutout" if plain == "crop" and self.image_size == 32 and self._cuts(variant) else plain

    def build(self, variant: Variant, num_classes: int, seed: int) -> nn.Module:
        """The network with random weights; its batch normalisations track statistics."""
        config = self._network().replace(
            num_classes=num_classes,
            C=self.width,
            is_imagenet_input=self.image_size > 64,
            auxiliary="auxiliary head" in VARIANTS[variant],
        )
        if config.norm is not None:
            config = config.replace(norm="bn-track")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = config.build("cpu")
        if self._cuts(variant) and self.augmentation(variant) != "crop-cutout":
            model.register_forward_pre_hook(cuts(self.image_size // 2))
        return model

    def _network(self) -> NetworkConfig:
        if self.arch in GENOTYPES:
            return NetworkConfig(genotype=GENOTYPES[self.arch], n_cells=self.n_cells)
        split, _, index = self.arch.rpartition(":")
        if not split or not index.isdecimal():
            raise PpudaLikeError(
                f"the network must be {', '.join(GENOTYPES)} or SPLIT:INDEX, INDEX from 0 (got '{self.arch}')"
            )
        found = sample_network(split, int(index))
        if not isinstance(found, NetworkConfig):
            raise PpudaLikeError(f"'{self.arch}' is a ResNet-50, without drop path and auxiliary head; take another")
        return found

    def _cuts(self, variant: Variant) -> bool:
        return "cutout" in VARIANTS[variant]


def cuts(size: int) -> Callable[[nn.Module, tuple[Tensor]], Tensor | None]:
    """A hook that blanks a square of the images a network trains on, which come to it normalised.

    Only crops and flips have a named augmentation with cutout, and digits must not be flipped.  In training, torch's
    random stream is that of the step, so that a run that is resumed draws the same squares.
    """

    def cut(model: nn.Module, inputs: tuple[Tensor]) -> Tensor | None:
        return cutout(inputs[0], torch.default_generator, size=size) if model.training else None

    return cut


def paper() -> Recipe:
    """As published (arXiv:1806.09055, section 3.2), for a GPU: 20 cells of 36 channels, 600 epochs of CIFAR-10."""
    return Recipe(width=36, n_cells=20, data="cifar10", all_images=True, epochs=600, variants=("all",))


def small() -> Recipe:
    """Every variant on 200 digits of 16 pixels, few so that generalising is not too easy; some two minutes a run."""
    return Recipe(
        width=8, n_cells=5, data="digits", image_size=16, shots=20, epochs=100, batch_size=40, seeds=(0, 1, 2)
    )


def smoke() -> Recipe:
    """Two epochs of the smallest network, with all and with none of the regularisers."""
    return Recipe(
        width=4, n_cells=3, data="digits", image_size=8, shots=20, epochs=2, batch_size=100, variants=("all", "none")
    )
