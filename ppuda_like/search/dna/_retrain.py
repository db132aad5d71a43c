"""The training of a network that was found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ppuda_like.errors import CodeError
from ppuda_like.search.dna._definition import NetworkDefinition
from ppuda_like.search.dna._network import BlockNetwork, build_network
from ppuda_like.vision import ImageSource, NetTrainConfig, NetTrainResult, train_net

__all__ = ["retrain", "retrain_config"]


def retrain_config(out: str | Path, **changes: Any) -> NetTrainConfig:
    """The published training of found networks on ImageNet (arXiv:1911.13053).

    As in the published script: 500 epochs of 1,024 images, 5 of them warm-up, RMSprop in TensorFlow's form with a
    learning rate of 0.064 that falls by 0.963 every 3 epochs (here by its cube root every epoch), label smoothing 0.1,
    an average of the weights with decay 0.9998.  Drop connect and dropout, 0.2 each, are the network's: see
    :func:`retrain`.  Not as there: decay 1e-5, EfficientNet's, of weights of more than one dimension in place of 1e-4,
    and colours that vary more, as ``"imagenet"`` has it.  The authors' later recipe adds RandAugment:
    ``augment="imagenet-rand"``.

    Args:
        out: folder that the run writes to.
        changes: values that replace those of the recipe.

    Example:
        >>> retrain_config("runs/dna-c").ema
        0.9998
    """
    recipe: dict[str, Any] = {
        "epochs": 500,
        "batch_size": 1024,
        "augment": "imagenet",
        "optimizer": "rmsprop",
        "lr": 0.064,
        "weight_decay": 1e-5,
        "decay_all": False,
        "schedule": "exponential",
        "factor": 0.963 ** (1 / 3),
        "warmup": 5.0,
        "label_smoothing": 0.1,
        "clip": 0.0,
        "ema": 0.9998,
    }
    return NetTrainConfig(**{"out": Path(out)} | recipe | changes)


def retrain(
    network: NetworkDefinition | BlockNetwork,
    config: NetTrainConfig,
    train: ImageSource,
    val: ImageSource | None = None,
    *,
    drop_connect: float = 0.2,
    progress: bool | None = None,
) -> tuple[BlockNetwork, NetTrainResult]:
    """Train a found network, from weights drawn by the config's seed or from those it has.

    Args:
        network: a definition, or a network with weights such as :func:`cut_network` gives.
        config: of the training: :func:`retrain_config`, or any other.
        train: images to train on.
        val: images to validate on after each epoch.
        drop_connect: of a network that is made of a definition; see :class:`BlockNetwork`.
        progress: show a progress bar; None for only in a terminal.

    Returns:
        The network in evaluation mode, and how its training ended.

    Raises:
        CodeError: if the images have other classes or another size than the network was made for.
        CheckpointError: as ``train_net`` does, and what else it raises.
    """
    definition = network.definition if isinstance(network, BlockNetwork) else network
    if len(train.class_names) != definition.head.num_classes or train.image_size != definition.image_size:
        raise CodeError(
            f"the network is made for {definition.head.num_classes} classes and images of {definition.image_size} "
            f"pixels (got {len(train.class_names)} and {train.image_size}); replace these in its definition, or use "
            "ppuda_like.vision.resized"
        )
    if isinstance(network, NetworkDefinition):
        network = build_network(network, drop_connect=drop_connect, seed=config.seed)
    return network, train_net(network, config, train, val, progress=progress)
