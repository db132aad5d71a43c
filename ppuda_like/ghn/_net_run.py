"""One network's share of a training step."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ppuda_like.ghn._net_stream import PreparedNet
from ppuda_like.ghn._train_config import TrainConfig
from ppuda_like.vision import main_output

__all__ = ["NetResult", "NetRun"]


@dataclass(frozen=True, kw_only=True)
class NetResult:
    """What one network adds to a step.

    Attributes:
        loss: cross entropy.
        top1: accuracy on the images of the step.
        tensors: the predicted parameters that the loss depends on; none if the loss is not finite.
        gradients: gradient of the network's share of the loss by each of them.
    """

    loss: float
    top1: float
    tensors: list[Tensor]
    gradients: list[Tensor]


class NetRun:
    """Forward and backward pass of networks on the images of one step, with predicted parameters.

    Args:
        config: of the run.
        step: number of the step.
        images: shape (n, 3, H, W).
        labels: shape (n,).
    """

    def __init__(self, config: TrainConfig, step: int, images: Tensor, labels: Tensor) -> None:
        self.config = config
        self.images = self.small = images
        self.labels = labels
        if config.fast_size and step < config.fast_share * config.steps:
            small = F.interpolate(images, size=(config.fast_size,) * 2, mode="bilinear", antialias=True)
            self.small = small.contiguous(memory_format=torch.channels_last)

    def __call__(self, net: PreparedNet, predicted: Mapping[str, Tensor]) -> NetResult:
        """Run one network; the gradient stops at the predicted parameters.

        Args:
            net: on the meta device.
            predicted: its parameters, by name.
        """
        optim = self.config.optim
        model = net.model.eval()  # no dropout, no drop path: their noise would come from the global random state
        leaves = {name: tensor.detach().requires_grad_() for name, tensor in predicted.items()}
        # What no output depends on may yet be computed; anything else missing is an error, by strict.
        zero = self.images.new_zeros(())
        unused = {name: zero.expand(model.get_parameter(name).shape) for name in net.graph.unreached}
        any_size = net.config.glob_avg and not net.config.genotype.is_transformer
        images = self.small if any_size else self.images
        logits = main_output(torch.func.functional_call(model, {**unused, **leaves}, (images,), strict=True))
        loss = F.cross_entropy(logits, self.labels, label_smoothing=optim.label_smoothing)
        value = float(loss.detach())
        top1 = float((logits.detach().argmax(dim=1) == self.labels).float().mean())
        if not math.isfinite(value):
            return NetResult(loss=value, top1=top1, tensors=[], gradients=[])
        share = 1 / self.config.nets.meta_batch
        if optim.max_loss is not None and value > optim.max_loss:
            share *= optim.max_loss / value
        (loss * share).backward()
        pairs = [(predicted[name], leaf.grad) for name, leaf in leaves.items() if leaf.grad is not None]
        return NetResult(
            loss=value,
            top1=top1,
            tensors=[tensor for tensor, _ in pairs],
            gradients=[gradient for _, gradient in pairs],
        )
