"""What a part of a network costs, counted on the module that it is."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import torch

from ppuda_like.graph import ComputationalGraph, trace
from ppuda_like.search.dna._parts import Part

__all__ = ["PartCosts", "flops_counter", "part_costs"]


class PartCosts(NamedTuple):
    """Costs of one image: exact, whole numbers.

    Attributes:
        macs: multiply-accumulates of convolutions and linear layers, without biases, as
            :attr:`ComputationalGraph.macs` has them.
        flops_counter: as the figures of the published networks are counted; see :func:`flops_counter`.
        params: scalars in the parameters.
    """

    macs: int
    flops_counter: int
    params: int


@lru_cache(maxsize=65536)
def part_costs(part: Part) -> PartCosts:
    """Costs of a part of a network; the module is built without memory for its weights, and its graph counted.

    Example:
        >>> from ppuda_like.search.dna import parse_operation
        >>> part_costs(Part(what=parse_operation("ir_k3_e6_se0.25"), c_in=24, c_out=24, stride=1, size=56))
        PartCosts(macs=25742016, flops_counter=27699030, params=10710)
    """
    with torch.device("meta"):
        module = part.build()
    graph = trace(module.eval(), part.input_shape)
    return PartCosts(graph.macs, flops_counter(graph), graph.num_params)


def flops_counter(graph: ComputationalGraph) -> int:
    """Multiply-accumulates of a full trace, as the published DNA networks (arXiv:1911.13053) are counted.

    Convolutions count with their biases, linear layers without, batch norms as 2 for each element of their input, and
    poolings as 1; activations and the mean and product of squeeze and excitation do not count.  The graph must be that
    of one image.
    """
    sources = graph.predecessors()
    total = 0
    for node, op in enumerate(graph.ops):
        total += graph.flops[node] // 2
        if op.startswith("conv") and "bias" in graph.attributes[node].get("roles", ()):
            total += math.prod(graph.out_shapes[node])
        elif op == "batch_norm":
            total += 2 * math.prod(graph.out_shapes[node])
        elif "pool" in op:
            total += math.prod(graph.out_shapes[sources[node][0]])
    return total
