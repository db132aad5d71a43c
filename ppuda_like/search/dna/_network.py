"""Networks made from their definitions."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ppuda_like.errors import CodeError
from ppuda_like.graph import ComputationalGraph, trace
from ppuda_like.search.dna._definition import NetworkDefinition
from ppuda_like.search.dna._parts import HeadModule, StemModule

__all__ = ["BlockNetwork", "build_network", "init_weights", "network_graph"]


class BlockNetwork(nn.Module):
    """A network of blocks, ``stem``, ``stages`` and ``head``, that knows its definition.

    :func:`build_network` makes it with its weights drawn; here they are what torch's layers begin with.

    Args:
        definition: of the network.
        drop_connect: probability of leaving out the residual branch of the last layer, in training; that of layer i of
            n is ``drop_connect * i / n``, i from 0.

    Shape:
        images (batch, in_channels, height, width) to logits (batch, num_classes).
    """

    stem: StemModule
    head: HeadModule

    def __init__(self, definition: NetworkDefinition, *, drop_connect: float = 0.0) -> None:
        super().__init__()
        if not 0 <= drop_connect < 1:
            raise CodeError(f"'drop_connect' must lie in 0..1, 1 excluded (got {drop_connect})")
        self.definition = definition.single()
        self.input_shape = (1, definition.stem.in_channels, definition.image_size, definition.image_size)
        stem, *layers, head = self.definition.parts()
        modules = iter([part.build(drop_connect * i / len(layers)) for i, part in enumerate(layers)])
        self.stem = stem.build()  # type: ignore[assignment]
        self.stages = nn.ModuleList(nn.Sequential(*(next(modules) for _ in stage)) for stage in self.definition.stages)
        self.head = head.build()  # type: ignore[assignment]

    def forward(self, x: Tensor) -> Tensor:
        """Logits of shape (batch, num_classes)."""
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
        out: Tensor = self.head(x)
        return out


def build_network(definition: NetworkDefinition, *, drop_connect: float = 0.0, seed: int = 0) -> BlockNetwork:
    """The network of a definition, its weights drawn by :func:`init_weights`.

    Args:
        definition: of the network.
        drop_connect: see :class:`BlockNetwork`; the published recipe trains with 0.2.
        seed: of the weights.

    Raises:
        CodeError: if ``drop_connect`` is out of range.

    Example:
        >>> from ppuda_like.search.dna import dna_network
        >>> sum(parameter.numel() for parameter in build_network(dna_network("DNA_c")).parameters())
        5273896
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # of operations that init_weights does not know
        network = BlockNetwork(definition, drop_connect=drop_connect)
    init_weights(network, torch.Generator().manual_seed(seed))
    return network


def init_weights(module: nn.Module, generator: torch.Generator) -> None:
    """Draw the weights of convolutions, linear layers and batch norms as the published networks begin.

    A convolution: normal with standard deviation sqrt(2 / (kernel area * output channels)), whatever its groups; a
    linear layer: uniform within 1 / sqrt(outputs); biases 0, batch norms the identity.

    Args:
        module: changed in place, with all modules inside.
        generator: source of the randomness, on the device of the weights.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            fan_out = math.prod(layer.kernel_size) * layer.out_channels
            nn.init.normal_(layer.weight, 0.0, math.sqrt(2.0 / fan_out), generator=generator)
        elif isinstance(layer, nn.Linear):
            bound = 1.0 / math.sqrt(layer.out_features)
            nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
        elif isinstance(layer, nn.BatchNorm2d) and layer.affine:
            nn.init.ones_(layer.weight)
        else:
            continue
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def network_graph(definition: NetworkDefinition) -> ComputationalGraph:
    """The computational graph of the network in evaluation mode; nothing is allocated.

    Example:
        >>> from ppuda_like.search.dna import dna_network
        >>> graph = network_graph(dna_network("DNA_c"))
        >>> graph.num_params, graph.macs
        (5273896, 450138976)
    """
    with torch.device("meta"):
        network = BlockNetwork(definition)
    return trace(network.eval())
