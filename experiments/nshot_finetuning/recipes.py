"""Fine-tuning on few images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ppuda_like.vision import NetTrainConfig


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What is compared.

    Attributes:
        nets: numbers of networks of the split ``test``, none of which a hypernetwork is trained on.
        width: their initial width.
        shots: training images of each class.
        epochs: after which accuracy is reported; the last is the length of the training.
        seeds: of the images chosen, their order, and of the random weights.
        num_images: test images, the same ones each time.
    """

    nets: tuple[int, ...] = (4, 5, 6)
    width: int = 16
    shots: int = 100
    epochs: tuple[int, ...] = (1, 5, 20)
    seeds: tuple[int, ...] = (0, 1, 2)
    num_images: int = 1_000

    def config(self, out: Path, seed: int) -> NetTrainConfig:
        """SGD as published for fine-tuning (arXiv:2110.13100, section 5.3), the same for all initial weights."""
        return NetTrainConfig.finetune(
            out,
            epochs=self.epochs[-1],
            seed=seed,
            channels_last=True,
            bn_batch_stats=True,
            val_batch_size=250,
        )


SMOKE = Recipe(nets=(1,), width=8, shots=10, epochs=(1, 2), seeds=(0,), num_images=40)
