"""Graph networks that read whole computational graphs and give one number for each.

Shapes: N nodes of all graphs of a batch, B graphs, E members, D hidden width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ppuda_like.errors import PpudaLikeError
from ppuda_like.predictors._gnn_data import GraphBatch
from ppuda_like.predictors._gnn_layers import (
    GatedSum,
    MemberLinear,
    MemberNorm,
    NodeAttention,
    graph_sum_and_max,
    initialize,
    neighbour_sum,
)

__all__ = ["Backbone", "GraphNetwork", "GraphNetworkConfig"]

Backbone = Literal["gin", "gated", "gps"]
"""How nodes hear of others; see :class:`GraphNetwork`."""


@dataclass(frozen=True, kw_only=True)
class GraphNetworkConfig:
    """Sizes of the members of a :class:`GraphNetwork`.

    Attributes:
        num_ops: operations that nodes have.
        num_features: features of a node besides.
        num_facts: features of a graph.
        members: networks side by side.
        backbone: how nodes hear of others.
        hidden: width of the node features.
        num_layers: rounds of messages.
        heads: of the attention of ``"gps"``.
        dropout: share of the features of graphs, before and in the head, that is dropped in training.
        virtual: whether messages go over virtual edges, too.
        nodes_per_graph: typical size of a graph, by which sums over nodes are divided.

    Raises:
        PpudaLikeError: if a value is out of range.
    """

    num_ops: int
    num_features: int
    num_facts: int
    members: int
    backbone: Backbone = "gin"
    hidden: int = 32
    num_layers: int = 3
    heads: int = 4
    dropout: float = 0.0
    virtual: bool = False
    nodes_per_graph: float = 1.0

    def __post_init__(self) -> None:
        for name in ("num_ops", "num_features", "members", "hidden", "num_layers", "heads"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise PpudaLikeError(f"'{name}' must be a whole number, at least 1 (got {value!r})")
        if self.backbone not in get_args(Backbone):
            raise PpudaLikeError(f"'backbone' must be one of {', '.join(get_args(Backbone))} (got {self.backbone!r})")
        if not 0 <= self.dropout < 1:
            raise PpudaLikeError(f"'dropout' must be at least 0 and below 1 (got {self.dropout})")
        if not self.nodes_per_graph > 0:
            raise PpudaLikeError(f"'nodes_per_graph' must be positive (got {self.nodes_per_graph})")
        if self.backbone == "gps" and self.hidden % self.heads:
            raise PpudaLikeError(
                f"'hidden' must be a multiple of {self.heads}, the attention heads (got {self.hidden})"
            )


class GraphNetwork(nn.Module):
    """Independent graph networks of one form, run side by side: an ensemble at little more than the cost of one.

    A node starts from the embedding of its operation and its features.  In each layer it hears of its predecessors and
    its successors apart, which lets it tell before from after: ``x + W2 relu(W1 [y, sum over sources y, sum over
    targets y])`` with ``y = norm(x)``, for ``"gin"`` (arXiv:1810.00826, made directed); for ``"gated"`` the sums have
    gates that depend on both ends; ``"gps"`` adds attention to all nodes of the graph (arXiv:2205.12454).  With virtual
    edges there are sums over these as well, each node divided by its distance.  The graph's mean, sum and maximum over
    nodes, the features of its output node and the features of the graph go through a hidden layer.

    The weights of member e are entry e of every parameter.
    """

    def __init__(self, config: GraphNetworkConfig) -> None:
        super().__init__()
        self.config = config
        members, hidden = config.members, config.hidden
        self.op = nn.Parameter(torch.empty(members, config.num_ops, hidden))
        self.features = MemberLinear(members, config.num_features, hidden)
        self.layers = nn.ModuleList(_Layer(config) for _ in range(config.num_layers))
        self.norm = MemberNorm(members, hidden)
        self.head = MemberLinear(members, 4 * hidden + config.num_facts, 2 * hidden)
        self.out = MemberLinear(members, 2 * hidden, 1)

    def initialize(self, generator: torch.Generator) -> None:
        """Draw the weights of all members."""
        nn.init.normal_(self.op, std=0.5, generator=generator)
        initialize(self, generator)

    def forward(self, batch: GraphBatch) -> Tensor:
        """What each member says of each graph, ``(B, E)``."""
        members = self.config.members
        x = self.op[:, batch.op].transpose(0, 1) + self.features(batch.x.unsqueeze(1).expand(-1, members, -1))
        for layer in self.layers:
            x = layer(x, batch)
        read = torch.cat((self._read(self.norm(x), batch), batch.facts.unsqueeze(1).expand(-1, members, -1)), dim=-1)
        hidden = F.relu(self.head(self._drop(read)))
        return torch.as_tensor(self.out(self._drop(hidden))).squeeze(-1)

    def _read(self, x: Tensor, batch: GraphBatch) -> Tensor:
        total, most = graph_sum_and_max(x, batch.starts)
        return torch.cat(
            (total / batch.starts.diff().view(-1, 1, 1), total / self.config.nodes_per_graph, most, x[batch.output]),
            dim=-1,
        )

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.config.dropout, self.training)


class _Layer(nn.Module):
    """One round of messages, with a residual connection."""

    def __init__(self, config: GraphNetworkConfig) -> None:
        super().__init__()
        members, hidden = config.members, config.hidden
        self.norm = MemberNorm(members, hidden)
        self.gated = nn.ModuleList(GatedSum(members, hidden) for _ in range(2 if config.backbone == "gated" else 0))
        self.attention = NodeAttention(members, hidden, config.heads) if config.backbone == "gps" else None
        self.mix = MemberLinear(members, (5 if config.virtual else 3) * hidden, hidden)
        self.up = MemberLinear(members, hidden, hidden, gain=0.5)

    def forward(self, x: Tensor, batch: GraphBatch) -> Tensor:
        """``(N, E, D)``, as the input."""
        y = self.norm(x)
        parts = [y]
        for place, (matrix, transposed) in enumerate(batch.matrices):
            if self.gated and not place:
                forward, backward = self.gated
                parts += [forward(y, batch.edges), backward(y, batch.edges.flip(0))]
            else:
                parts += [neighbour_sum(y, matrix, transposed), neighbour_sum(y, transposed, matrix)]
        change = self.up(F.relu(self.mix(*parts)))
        if self.attention is not None:
            change = change + self.attention(y, batch)
        return torch.as_tensor(x + change)
