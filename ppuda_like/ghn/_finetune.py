"""A network's weights before it is fine-tuned: predicted, or random ones to compare with."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn

from ppuda_like.ghn._hypernetwork import GHN
from ppuda_like.ghn._postprocess import postprocess
from ppuda_like.ghn._report import PredictionReport
from ppuda_like.ghn._targets import class_layer_nodes
from ppuda_like.graph import ComputationalGraph, trace

__all__ = ["kaiming_init", "predicted_init"]


def predicted_init(
    model: nn.Module,
    ghn: GHN,
    *,
    input_shape: Sequence[int] | None = None,
    orth: bool = False,
    noise: float = 0.0,
    first_layer: int = 0,
    generator: torch.Generator | None = None,
) -> PredictionReport:
    """Give a network predicted parameters to be trained from; its batch normalisations track statistics as they do.

    A class layer of another number of classes than the hypernetwork's stays as it is.

    Args:
        model: the network, in place.
        ghn: what predicts.
        input_shape: shape of the input to trace with, batch included.
        orth: see :func:`postprocess`, as for ``noise`` and ``first_layer``.
        noise: relative standard deviation of noise in copied channels.
        first_layer: number of the first weight that both change.
        generator: where the noise comes from.

    Returns:
        What was predicted, and what was kept and why.

    Raises:
        PredictionError: as :meth:`GHN.fill` and :func:`postprocess` do.
        TraceError: if the model cannot be traced.

    Example:
        >>> from ppuda_like import GHN
        >>> from torchvision.models import squeezenet1_1
        >>> report = predicted_init(squeezenet1_1(num_classes=37), GHN.from_pretrained("ghn2-digits"), orth=True)
        >>> report.num_predicted
        52
    """
    graph = trace(model, input_shape=None if input_shape is None else tuple(input_shape)).lower("ppuda")
    report = ghn.fill(
        model, graph=graph, predict_class_layers=_classes(graph) == ghn.config.num_classes, bn_train=False
    )
    if orth or noise:
        postprocess(
            model,
            graph,
            orth=orth,
            noise=noise,
            max_channels=ghn.config.max_shape[:2],
            first_layer=first_layer,
            generator=generator,
        )
    return report


def _classes(graph: ComputationalGraph) -> int | None:
    """Outputs of the class layer; None where there is no such layer."""
    nodes = class_layer_nodes(graph)
    return graph.param_shapes[nodes[0]][0][0] if nodes else None


@torch.no_grad()
def kaiming_init(model: nn.Module, generator: torch.Generator) -> None:
    """Random weights (arXiv:1502.01852, Eq. 10), in place: what predicted ones are compared with.

    Weights with two dimensions or more are normal with variance 2 / fan-in, but for those of the last of them, a class
    layer as a rule, which has variance 1 / fan-in; of the rest, weights are 1 and biases 0.

    Args:
        model: the network.
        generator: where randomness comes from.
    """
    matrices = [parameter for parameter in model.parameters() if parameter.dim() > 1]
    for parameter in matrices:
        fan_in = math.prod(parameter.shape[1:])
        gain = 1.0 if parameter is matrices[-1] else 2.0
        parameter.copy_(torch.randn(parameter.shape, generator=generator) * math.sqrt(gain / fan_in))
    for name, parameter in model.named_parameters():
        if parameter.dim() < 2:
            parameter.fill_(1.0 if name.rpartition(".")[2] == "weight" else 0.0)
