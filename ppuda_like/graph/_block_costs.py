"""What each block of a partition costs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from ppuda_like.errors import GraphError
from ppuda_like.graph._flow import Flow, known_effects
from ppuda_like.graph._graph import ComputationalGraph

__all__ = ["BlockCosts", "Cost", "block_costs"]

Cost = Literal["macs", "parameters", "activation_bytes"]


@dataclass(frozen=True, kw_only=True)
class BlockCosts:
    """Costs of one block, for one forward pass.

    Attributes:
        parameters: scalars in the parameters that the block uses.
        macs: multiply-accumulates.
        activation_bytes: memory of all tensors the block makes, views and results written in place not counted again.
        frontier_bytes: memory of the values handed on to the next block; 0 for the last one.
    """

    parameters: int
    macs: int
    activation_bytes: int
    frontier_bytes: int


def block_costs(
    flow: Flow,
    block_of: Sequence[int],
    parameters: Sequence[Sequence[str]],
    handed_on: Sequence[Sequence[int]],
    batch_size: int | None,
) -> tuple[BlockCosts, ...]:
    """The costs of each block.

    Args:
        flow: the graph's flow.
        block_of: the block of each node.
        parameters: paths of the parameters of each block.
        handed_on: the values that cross the boundary behind each block but the last one.
        batch_size: the batch to scale to, for what is computed from inputs; None for the traced one.
    """
    graph, effects = flow.graph, known_effects(flow.graph)
    traced = next(iter(graph.out_shapes[graph.inputs[0]]), 0)
    if batch_size is None:
        batch_size = traced = 1
    elif batch_size < 1 or not traced:
        raise GraphError(
            f"costs cannot be scaled from a batch of {traced} to one of {batch_size}; both must be positive"
        )
    shapes = graph.params
    flops, held = [[0, 0] for _ in parameters], [[0, 0] for _ in parameters]  # of constants, of what inputs lead to
    for node, block in enumerate(block_of):
        flops[block][flow.dependent[node]] += graph.flops[node]
        if graph.ops[node] != "input":
            held[block][flow.dependent[node]] += effects[node].num_bytes
    return tuple(
        BlockCosts(
            parameters=sum(math.prod(shapes[path]) for path in paths),
            macs=(flops[block][0] + flops[block][1] * batch_size // traced) // 2,
            activation_bytes=held[block][0] + held[block][1] * batch_size // traced,
            frontier_bytes=sum(_num_bytes(graph, i) for i in (*handed_on, ())[block]) * batch_size // traced,
        )
        for block, paths in enumerate(parameters)
    )


def _num_bytes(graph: ComputationalGraph, node: int) -> int:
    """Memory of the first tensor that a node makes."""
    kind = getattr(torch, known_effects(graph)[node].dtypes[0], None)
    if not isinstance(kind, torch.dtype):
        raise GraphError(f"node {node} makes tensors of a type that torch does not know: {known_effects(graph)[node]}")
    return math.prod(graph.out_shapes[node]) * kind.itemsize
