"""One network's share of a training step."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ppuda_like.ghn._images import StepImages
from ppuda_like.ghn._init import parameter_norms
from ppuda_like.ghn._net_stream import PreparedNet
from ppuda_like.ghn._train_config import TrainConfig
from ppuda_like.vision import main_output

__all__ = ["AMP_DTYPES", "NetResult", "NetRun", "is_out_of_memory"]

_log = logging.getLogger(__name__)

AMP_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True, kw_only=True)
class NetResult:
    """What one network adds to a step.

    Attributes:
        loss: cross entropy.
        top1: accuracy on the images of the step.
        tensors: the predicted parameters that the loss depends on; none if the network failed.
        gradients: gradient of the network's share of the loss by each of them.
        overflow: whether the loss was finite and its gradient was not, as a loss scaled too high makes it.
        out_of_memory: whether memory did not suffice.
    """

    loss: float = math.nan
    top1: float = 0.0
    tensors: tuple[Tensor, ...] = ()
    gradients: tuple[Tensor, ...] = ()
    overflow: bool = False
    out_of_memory: bool = False


class NetRun:
    """Forward and backward pass of networks in one step, with predicted parameters.

    Args:
        config: of the run.
        images: what the networks of the step see.
        scale: of the loss, so that small gradients do not vanish in 16 bits; it cancels out.
    """

    def __init__(self, config: TrainConfig, images: StepImages, scale: float) -> None:
        self.config = config
        self.images = images
        self.scale = scale

    def __call__(self, position: int, net: PreparedNet, predicted: Mapping[str, Tensor]) -> NetResult:
        """Run one network; the gradient stops at the predicted parameters.

        Args:
            position: of the network in the meta-batch.
            net: on the meta device.
            predicted: its parameters, by name.
        """
        try:
            return self._run(position, net, predicted)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            _log.warning("out of memory in a network of %s multiply-accumulates; it is left out", f"{net.graph.macs:,}")
        # Outside of the handler, whose traceback holds the tensors.
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return NetResult(out_of_memory=True)

    def _run(self, position: int, net: PreparedNet, predicted: Mapping[str, Tensor]) -> NetResult:
        config = self.config
        images, labels = self.images(position, net)
        model = net.model.eval()  # no dropout, no drop path: their noise would come from the global random state
        leaves = {name: tensor.detach().requires_grad_() for name, tensor in predicted.items()}
        # What no output depends on may yet be computed; anything else missing is an error, by strict.
        zero = images.new_zeros(())
        unused = {name: zero.expand(model.get_parameter(name).shape) for name in net.graph.unreached}
        amp = torch.autocast(images.device.type, AMP_DTYPES.get(config.amp), enabled=config.amp != "none")
        with amp:
            logits = main_output(torch.func.functional_call(model, {**unused, **leaves}, (images,), strict=True))
        logits = logits.float()
        loss = F.cross_entropy(logits, labels, label_smoothing=config.optim.label_smoothing)
        value = float(loss.detach())
        top1 = float((logits.detach().argmax(dim=1) == labels).float().mean())
        if not math.isfinite(value):
            return NetResult(loss=value, top1=top1)
        if config.optim.norm_penalty:
            loss = loss + config.optim.norm_penalty * parameter_norms(leaves)
        torch.autograd.backward(loss * self.scale)
        pairs = [(predicted[name], leaf.grad) for name, leaf in leaves.items() if leaf.grad is not None]
        gradients = [gradient for _, gradient in pairs]
        norm = float(torch.nn.utils.get_total_norm(gradients)) / self.scale
        if not math.isfinite(norm):
            return NetResult(loss=value, top1=top1, overflow=True)
        share = 1 / config.nets.meta_batch
        if config.optim.net_norm is not None and norm > 0:
            share *= config.optim.net_norm / norm
        torch._foreach_mul_(gradients, share / self.scale)
        return NetResult(
            loss=value, top1=top1, tensors=tuple(tensor for tensor, _ in pairs), gradients=tuple(gradients)
        )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory did not suffice, on a GPU or a CPU."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)
