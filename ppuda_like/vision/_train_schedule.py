"""The learning rate of the training of one network."""

from __future__ import annotations

import math

from ppuda_like.vision._train_config import NetTrainConfig

__all__ = ["drop_path_rate", "learning_rate"]


def learning_rate(config: NetTrainConfig, step: int, per_epoch: int) -> float:
    """Learning rate of the update number ``step``, from 0.

    Warm-up and cosine change with every step, ``"step"`` and ``"exponential"`` with every epoch.  A function of the
    step alone, so that a run that is resumed needs no state of a schedule.

    Args:
        config: the run.
        step: number of the update, in the whole run.
        per_epoch: updates in an epoch.

    Example:
        >>> config = NetTrainConfig.sgd50("run", epochs=4, lr=1.0)
        >>> [round(learning_rate(config, step, per_epoch=5), 3) for step in (0, 5, 10, 15, 20)]
        [1.0, 0.854, 0.5, 0.146, 0.0]
    """
    warmup = round(config.warmup * per_epoch)
    if step < warmup:
        return config.lr * (step + 1) / (warmup + 1)
    epoch = step // per_epoch
    if config.schedule == "step":
        return config.lr * config.factor ** sum(epoch >= milestone for milestone in config.milestones)
    if config.schedule == "exponential":
        return config.lr * config.factor**epoch
    if config.schedule == "constant":
        return config.lr
    done = (step - warmup) / max(1, config.epochs * per_epoch - warmup)
    return config.lr * (config.final_lr + (1 - config.final_lr) * (1 + math.cos(math.pi * done)) / 2)


def drop_path_rate(config: NetTrainConfig, epoch: int) -> float:
    """Probability of dropping an edge in an epoch, from 0: it grows linearly from 0, as in DARTS.

    Example:
        >>> config = NetTrainConfig.sgd50("run", epochs=4, drop_path=0.2)
        >>> [round(drop_path_rate(config, epoch), 3) for epoch in range(4)]
        [0.0, 0.05, 0.1, 0.15]
    """
    return config.drop_path * epoch / config.epochs
