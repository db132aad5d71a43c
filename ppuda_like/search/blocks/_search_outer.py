"""How the loss after a few steps of training depends on where a network is cut."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.utils import get_total_norm

from ppuda_like.errors import PpudaLikeError
from ppuda_like.search.blocks._relaxed import Relaxation, RelaxedNet
from ppuda_like.search.blocks._search_config import BlockSearchConfig
from ppuda_like.search.blocks._search_step import Batch, NetState, descended, gradients, losses, validated

__all__ = ["Outer", "outer_gradient", "step", "unrolled"]

Relax = Callable[[int], Relaxation]


@dataclass(frozen=True, kw_only=True, eq=False)
class Outer:
    """What an update of the logits is made with.

    Attributes:
        objective: the loss that is differentiated.
        error: share of the validation batch that is classified wrongly; None with the published gradient, which does
            not look at it.
        gradients: of the logits, in the order they were given.
    """

    objective: Tensor
    error: Tensor | None
    gradients: tuple[Tensor, ...]


def step(
    net: RelaxedNet,
    state: NetState,
    batch: Batch,
    relaxation: Relaxation,
    config: BlockSearchConfig,
    *,
    lr: float,
    seed: int,
) -> tuple[NetState | None, float]:
    """The state after a step of training, None if a loss or gradient was not finite; and the loss of the head."""
    start = _as_leaves(state, keep=False)
    found, buffers = losses(net, start, batch, relaxation, config.label_smoothing, seed)
    grads = gradients(found, start, relaxation, create_graph=False)
    norm = get_total_norm([grad for grad in grads.values() if grad is not None])
    values = torch.stack([value.detach().double() for value in (found.head, *found.local, norm) if value is not None])
    if not bool(values.isfinite().all()):
        return None, float(values[0])
    after = descended(state, grads, buffers, lr=lr, momentum=config.momentum, weight_decay=config.weight_decay)
    return after, float(values[0])


def unrolled(
    net: RelaxedNet,
    state: NetState,
    batches: Sequence[Batch],
    relax: Relax,
    config: BlockSearchConfig,
    *,
    lr: float,
    seeds: Sequence[int],
) -> NetState:
    """The state after a step on each batch, as a function of the logits that ``relax`` reads.

    In the first-order mode a step takes the weights that the ones before left as given: of the derivative of T steps
    only the terms without second derivatives by weights are left.

    Args:
        net: whose own weights do not matter.
        state: to start from, taken as given.
        batches: of images and labels.
        relax: the relaxation in the step of a number.
        config: of the search.
        lr: learning rate of all steps.
        seeds: of dropout, in each step.
    """
    for i, (batch, seed) in enumerate(zip(batches, seeds, strict=True)):
        start = _as_leaves(state, keep=config.gradient != "first-order")
        relaxation = relax(i)
        with sdpa_kernel(SDPBackend.MATH):  # the only attention whose gradient torch can differentiate
            found, buffers = losses(net, start, batch, relaxation, config.label_smoothing, seed)
        grads = gradients(found, start, relaxation, create_graph=True)
        state = descended(state, grads, buffers, lr=lr, momentum=config.momentum, weight_decay=config.weight_decay)
    return state


def outer_gradient(
    net: RelaxedNet,
    state: NetState,
    batches: Sequence[Batch],
    val: Batch,
    logits: Sequence[Tensor],
    relax: Relax,
    config: BlockSearchConfig,
    *,
    lr: float,
    seeds: Sequence[int],
) -> Outer:
    """The gradient of the logits through T steps of training.

    Args:
        net: whose own weights do not matter.
        state: to start from.
        batches: T of them.
        val: a batch to validate on.
        logits: leaves that ``relax`` reads.
        relax: the relaxation in the step of a number.
        config: of the search.
        lr: learning rate of all steps.
        seeds: of dropout, in each step.

    Raises:
        PpudaLikeError: if torch knows no second derivative of something in the network.
    """
    error: Tensor | None = None
    if config.gradient == "reference":
        state = unrolled(net, state, batches[:-1], relax, config, lr=lr, seeds=seeds[:-1])
        relaxation = relax(len(batches) - 1)
        last = batches[-1]
        # The last update follows the loss that is differentiated, so that it is of no concern.
        plain = replace(relaxation, gated=False)
        found, _ = losses(net, state, last, plain, config.label_smoothing, seeds[-1])
        objective = found.relaxed(plain)
    else:
        state = unrolled(net, state, batches, relax, config, lr=lr, seeds=seeds)
        found = validated(net, state, val, config.label_smoothing, config.bn_batch_stats)
        objective = found.head
        error = (found.logits.detach().argmax(1) != val[1]).double().mean()
    # Of a single candidate, or with no step before the last, a logit may be of no influence.
    try:
        grads = torch.autograd.grad(objective, list(logits), allow_unused=True, materialize_grads=True)
    except RuntimeError as failure:
        if not any(reason in str(failure) for reason in ("is not implemented", "once_differentiable")):
            raise
        raise PpudaLikeError(
            f"the search differentiates gradients, and that cannot be done for something in the network ({failure}); "
            "put another layer in its place"
        ) from failure
    return Outer(objective=objective.detach(), error=error, gradients=grads)


def _as_leaves(state: NetState, *, keep: bool) -> NetState:
    """The same state, its weights leaves of a new graph; ``keep`` those that depend on logits already."""
    # Weights that no step so far evaluated do not depend on them, and may be evaluated in this one.
    weights = {
        name: weight if keep and weight.requires_grad else weight.detach().requires_grad_()
        for name, weight in state.weights.items()
    }
    return NetState(weights=weights, momenta=state.momenta, buffers=state.buffers)
