"""Steps of training as functions of the state they start from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ppuda_like._compute import random_state
from ppuda_like.search.blocks._relaxed import Losses, Relaxation, RelaxedNet
from ppuda_like.vision._train_run import evaluation_mode

__all__ = ["Batch", "NetState", "descended", "gradients", "losses", "validated"]

Batch = tuple[Tensor, Tensor]
Tensors = dict[str, Tensor]

_KINDS = ("weights", "momenta", "buffers")


@dataclass(frozen=True, kw_only=True, eq=False)
class NetState:
    """All of a network in training that changes, by name.

    Attributes:
        weights: its parameters that learn.
        momenta: what SGD accumulates for each.
        buffers: its running statistics, and parameters that do not learn.
    """

    weights: Tensors
    momenta: Tensors
    buffers: Tensors

    @classmethod
    def of(cls, net: nn.Module) -> NetState:
        """That of a network which training has not begun of."""
        weights = {name: p.detach().clone() for name, p in net.named_parameters() if p.requires_grad}
        frozen = {name: p.detach().clone() for name, p in net.named_parameters() if not p.requires_grad}
        return cls(
            weights=weights,
            momenta={name: torch.zeros_like(weight) for name, weight in weights.items()},
            buffers={name: buffer.clone() for name, buffer in net.named_buffers()} | frozen,
        )

    def tensors(self) -> Tensors:
        """All in one, by kind and name."""
        return {f"{kind}/{name}": tensor for kind in _KINDS for name, tensor in getattr(self, kind).items()}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], device: torch.device | str) -> NetState:
        """What :meth:`tensors` gave, on a device."""
        found: dict[str, Tensors] = {kind: {} for kind in _KINDS}
        for key, tensor in tensors.items():
            kind, _, name = key.partition("/")
            found[kind][name] = tensor.to(device)
        return cls(**found)


def losses(
    net: RelaxedNet, state: NetState, batch: Batch, relaxation: Relaxation, smoothing: float, seed: int
) -> tuple[Losses, Tensors]:
    """Losses in training with the weights of a state, and the running statistics afterwards; the state is not changed.

    Args:
        net: whose own weights do not matter.
        state: of the net.
        batch: images and labels.
        relaxation: of the net.
        smoothing: of the cross entropies.
        seed: of dropout.
    """
    net.train()
    buffers = {name: buffer.clone() for name, buffer in state.buffers.items()}
    with random_state(seed, batch[0].device):
        found: Losses = functional_call(net, (state.weights, buffers), (*batch, relaxation, smoothing), strict=True)
    return found, buffers


def gradients(found: Losses, state: NetState, relaxation: Relaxation, create_graph: bool) -> dict[str, Tensor | None]:
    """What each weight is to descend by; None for those that nothing evaluated depends on.

    Args:
        found: in a gated pass, whose gates end with this.
        state: that the pass was with.
        relaxation: likewise.
        create_graph: whether the gradients are to be differentiated.
    """
    grads = torch.autograd.grad(
        found.to_descend(relaxation), [*state.weights.values()], create_graph=create_graph, allow_unused=True
    )
    found.gates.active = False
    return dict(zip(state.weights, grads, strict=True))


def descended(
    state: NetState,
    grads: Mapping[str, Tensor | None],
    buffers: Tensors,
    *,
    lr: float,
    momentum: float,
    weight_decay: float,
) -> NetState:
    """The state after a step of SGD, as torch's; weights without a gradient stay as they are."""
    weights, momenta = dict(state.weights), dict(state.momenta)
    for name, grad in grads.items():
        if grad is not None:
            total = grad.add(weights[name], alpha=weight_decay) if weight_decay else grad
            momenta[name] = torch.add(total, momenta[name], alpha=momentum)
            weights[name] = torch.sub(weights[name], momenta[name], alpha=lr)
    return NetState(weights=weights, momenta=momenta, buffers=buffers)


def validated(net: RelaxedNet, state: NetState, batch: Batch, smoothing: float, bn_batch_stats: bool) -> Losses:
    """Loss and logits of the head in evaluation with the weights of a state.

    Args:
        net: whose own weights do not matter.
        state: of the net.
        batch: images and labels.
        smoothing: of the cross entropy.
        bn_batch_stats: whether normalisation is with the statistics of the batch.
    """
    evaluation_mode(net, bn_batch_stats)
    buffers = {name: buffer.clone() for name, buffer in state.buffers.items()} if bn_batch_stats else state.buffers
    found: Losses = functional_call(net, (state.weights, buffers), (*batch, None, smoothing), strict=True)
    return found
