"""Layers of the graph networks of predictors; the members of an ensemble run side by side.

Shapes: N nodes of all graphs of a batch, E members, D hidden width, H attention heads.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ppuda_like.predictors._gnn_data import GraphBatch

with warnings.catch_warnings():
    # On import torch-geometric scripts a few functions, which torch deprecates; nothing of ours.
    warnings.simplefilter("ignore", FutureWarning)
    warnings.simplefilter("ignore", DeprecationWarning)
    from torch_geometric.nn import MessagePassing
    from torch_geometric.utils import segment, to_dense_batch

__all__ = [
    "GatedSum",
    "MemberLinear",
    "MemberNorm",
    "NodeAttention",
    "graph_sum_and_max",
    "initialize",
    "neighbour_sum",
]


class MemberLinear(nn.Module):
    """A linear layer for each member.

    Args:
        members: E.
        inputs: width of the input.
        outputs: width of the output.
        gain: scale of the initial weights; 1 keeps the variance of inputs that are independent.
    """

    def __init__(self, members: int, inputs: int, outputs: int, gain: float = 1.0) -> None:
        super().__init__()
        self.gain = gain
        self.weight = nn.Parameter(torch.empty(members, inputs, outputs))
        self.bias = nn.Parameter(torch.empty(members, 1, outputs))

    def reset(self, generator: torch.Generator) -> None:
        """Draw new weights."""
        bound = self.gain * math.sqrt(3 / max(1, self.weight.size(1)))
        nn.init.uniform_(self.weight, -bound, bound, generator=generator)
        nn.init.zeros_(self.bias)

    def forward(self, *parts: Tensor) -> Tensor:
        """From ``(N, E, inputs)``, or parts of the inputs that are side by side, to ``(N, E, outputs)``.

        Parts are not put together first: that would move as much memory as all the rest.
        """
        found: Tensor = self.bias
        weights = torch.split(self.weight, [part.size(-1) for part in parts], dim=1)
        for x, weight in zip(parts, weights, strict=True):
            found = torch.baddbmm(found, x.transpose(0, 1), weight)
        return found.transpose(0, 1)


class MemberNorm(nn.Module):
    """Layer normalisation with a scale and a shift for each member."""

    def __init__(self, members: int, hidden: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.empty(members, hidden))
        self.shift = nn.Parameter(torch.empty(members, hidden))

    def reset(self, generator: torch.Generator) -> None:
        """Back to scale 1 and shift 0."""
        nn.init.ones_(self.scale)
        nn.init.zeros_(self.shift)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, E, D)``, as the input."""
        return F.layer_norm(x, x.shape[-1:]) * self.scale + self.shift


class GatedSum(MessagePassing):  # type: ignore[misc]  # torch-geometric has no types
    """Sum over neighbours, each gated by both ends: ``sum_u sigmoid(A x_v + B x_u) * C x_u`` (arXiv:1711.07553)."""

    def __init__(self, members: int, hidden: int) -> None:
        super().__init__(aggr="sum", node_dim=-2)
        self.linear = MemberLinear(members, hidden, 3 * hidden)

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        """From ``(N, E, D)`` and sources and targets ``(2, M)`` to ``(N, E, D)``."""
        own, other, value = (part.flatten(1) for part in self.linear(x).chunk(3, dim=-1))
        return torch.as_tensor(self.propagate(edges, own=own, sent=torch.cat((other, value), dim=-1))).view(x.shape)

    def message(self, own_i: Tensor, sent_j: Tensor) -> Tensor:
        """One row per edge."""
        other, value = sent_j.chunk(2, dim=-1)
        return torch.sigmoid(own_i + other) * value


class NodeAttention(nn.Module):
    """Each node attends to all nodes of its graph (arXiv:2205.12454, the global part of a GPS layer)."""

    def __init__(self, members: int, hidden: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.project = MemberLinear(members, hidden, 3 * hidden)
        self.out = MemberLinear(members, hidden, hidden, gain=0.5)

    def forward(self, x: Tensor, batch: GraphBatch) -> Tensor:
        """``(N, E, D)``, as the input."""
        members = x.size(1)
        flat = self.project(x).reshape(len(x), -1)
        dense, there = to_dense_batch(flat, batch.graph, batch_size=batch.num_graphs)
        parts = dense.unflatten(-1, (members, 3, self.heads, -1))  # (graphs, most nodes, E, 3, H, D / H)
        query, key, value = parts.permute(3, 0, 2, 4, 1, 5).flatten(2, 3)
        found = F.scaled_dot_product_attention(query, key, value, attn_mask=there[:, None, None])
        rows = found.transpose(1, 2)[there]  # (N, E * H, D / H)
        return torch.as_tensor(self.out(rows.reshape(x.shape)))


def neighbour_sum(x: Tensor, matrix: Tensor, transposed: Tensor) -> Tensor:
    """Weighted sums over neighbours.

    Args:
        x: ``(N, E, D)``.
        matrix: sparse ``(N, N)``.
        transposed: its transpose, which the backward pass needs: making it there again would cost more than the sums.
    """
    return torch.as_tensor(_NeighbourSum.apply(x.reshape(len(x), -1), matrix, transposed)).view(x.shape)


def graph_sum_and_max(x: Tensor, starts: Tensor) -> tuple[Tensor, Tensor]:
    """Sum and maximum over the nodes of each graph.

    Args:
        x: ``(N, E, D)``.
        starts: first node of each graph, and N, ``(graphs + 1,)``.

    Returns:
        Two tensors ``(graphs, E, D)``.
    """
    flat = x.flatten(1)
    total, most = (torch.as_tensor(segment(flat, starts, kind)).view(-1, *x.shape[1:]) for kind in ("sum", "max"))
    return total, most


def initialize(module: nn.Module, generator: torch.Generator) -> None:
    """Draw the weights of all layers below a module."""
    for layer in module.modules():
        if isinstance(layer, MemberLinear | MemberNorm):
            layer.reset(generator)


class _NeighbourSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, matrix: Tensor, transposed: Tensor) -> Tensor:
        ctx.transposed = transposed
        return matrix @ x

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        return ctx.transposed @ grads[0].contiguous(), None, None
