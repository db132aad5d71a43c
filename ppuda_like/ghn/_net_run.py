"""One network's share of a training step."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ppuda_like.ghn._net_stream import PreparedNet, derived_seed
from ppuda_like.ghn._train_config import TrainConfig
from ppuda_like.vision import AUGMENTATIONS, ImageData, main_output, normalise

__all__ = ["NetResult", "NetRun"]


@dataclass(frozen=True, kw_only=True)
class NetResult:
    """What one network adds to a step.

    Attributes:
        loss: cross entropy.
        top1: accuracy on the images of the step.
        tensors: the predicted parameters that the loss depends on; none if the loss or its gradient is not finite.
        gradients: gradient of the network's share of the loss by each of them.
    """

    loss: float
    top1: float
    tensors: list[Tensor]
    gradients: list[Tensor]


class NetRun:
    """Forward and backward pass of networks in one step, with predicted parameters.

    Args:
        config: of the run.
        step: number of the step.
        data: the training images.
    """

    def __init__(self, config: TrainConfig, step: int, data: ImageData) -> None:
        self.config = config
        self.step = step
        self.data = data

    def __call__(self, number: int, net: PreparedNet, predicted: Mapping[str, Tensor]) -> NetResult:
        """Run one network; the gradient stops at the predicted parameters.

        Args:
            number: of the network in the meta-batch.
            net: on the meta device.
            predicted: its parameters, by name.
        """
        images, labels = self.draw(number, net)
        model = net.model.eval()  # no dropout, no drop path: their noise would come from the global random state
        leaves = {name: tensor.detach().requires_grad_() for name, tensor in predicted.items()}
        # What no output depends on may yet be computed; anything else missing is an error, by strict.
        zero = images.new_zeros(())
        unused = {name: zero.expand(model.get_parameter(name).shape) for name in net.graph.unreached}
        logits = main_output(torch.func.functional_call(model, {**unused, **leaves}, (images,), strict=True))
        loss = F.cross_entropy(logits, labels, label_smoothing=self.config.optim.label_smoothing)
        value = float(loss.detach())
        top1 = float((logits.detach().argmax(dim=1) == labels).float().mean())
        failed = NetResult(loss=value, top1=top1, tensors=[], gradients=[])
        if not math.isfinite(value):
            return failed
        torch.autograd.backward(loss)
        pairs = [(predicted[name], leaf.grad) for name, leaf in leaves.items() if leaf.grad is not None]
        gradients = [gradient for _, gradient in pairs]
        norm = float(torch.nn.utils.get_total_norm(gradients))
        if not math.isfinite(norm):
            return failed
        share = 1 / self.config.nets.meta_batch
        if self.config.optim.net_norm is not None and norm > 0:
            share *= self.config.optim.net_norm / norm
        torch._foreach_mul_(gradients, share)
        return NetResult(loss=value, top1=top1, tensors=[tensor for tensor, _ in pairs], gradients=gradients)

    def draw(self, number: int, net: PreparedNet) -> tuple[Tensor, Tensor]:
        """Images and labels for a network."""
        config = self.config
        fast = bool(config.fast_size) and self.step < config.fast_share * config.steps
        fast = fast and net.config.glob_avg and not net.config.genotype.is_transformer
        own = () if config.same_images else (number,)
        generator = torch.Generator().manual_seed(derived_seed(config.seed, "images", self.step, *own))
        images, labels = self.data.pixels(torch.randperm(len(self.data), generator=generator)[: config.batch_size])
        for augment in AUGMENTATIONS[config.augment]:
            images = augment(images, generator)
        images = normalise(images, self.data.mean, self.data.std)
        if fast:
            images = F.interpolate(images, size=(config.fast_size,) * 2, mode="bilinear", antialias=True)
        # Channels last: depthwise convolutions and pools on the CPU run about twice as fast.
        return images.to(config.device, memory_format=torch.channels_last), labels.to(config.device)
