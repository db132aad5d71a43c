"""The transformer of GHN-3, whose attention depends on the distances between nodes."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ppuda_like.errors import GraphError
from ppuda_like.ghn._layers import MLP
from ppuda_like.ghn._node_pairs import CUTOFF, MAX_DEGREE, MAX_INPUT_DISTANCE, PADDING, NodePairs

__all__ = ["EdgeBias", "Graphormer", "GraphormerLayer"]

DISTANCES = 257
"""Rows of the table of distances; row ``s + 2`` stands for s edges, row 2 for no path."""
MASK = -(2.0**15)
"""Attention to padding: as good as minus infinity, and finite in 16 bits."""


class Graphormer(nn.Module):
    """A transformer over the nodes of each graph, all nodes at once (Knyazev et al., arXiv:2303.04143).

    Embeddings of a node's degrees and of its distance from the input are added to its features; then every layer lets
    each node attend to all nodes of its graph.  The logits of attention have an :class:`EdgeBias` that depends on how
    two nodes are related; all layers share it.

    The four published numbers of parameters, 6,906,632 to 654,365,184 for ImageNet, settle what a description of the
    layers leaves open: queries, keys and values have no bias, what follows attention has one; the hidden layer is four
    times as wide; both normalisations have a scale and a shift; one table of distances serves both directions and one
    edge bias all layers; degrees and distances from the input have tables of 101, 101 and 1001 rows.  Of 257 distances
    no more than 51 can occur; the other rows of that table are there for the numbers' sake.

    Args:
        hid: width of the node features.
        layers: number of layers.
        heads: attention heads of each, a divisor of ``hid``.

    Example:
        >>> from ppuda_like.graph import make_edge_index, ComputationalGraph
        >>> from ppuda_like.ghn import NodePairs
        >>> chain = ComputationalGraph(
        ...     ops=("input", "conv", "bn"), edge_index=make_edge_index([(0, 1), (1, 2)]), inputs=(0,), outputs=(2,)
        ... )
        >>> Graphormer(8, layers=2, heads=4)(torch.zeros(3, 8), NodePairs.build([chain], virtual=True)).shape
        torch.Size([3, 8])
    """

    def __init__(self, hid: int, *, layers: int, heads: int) -> None:
        super().__init__()
        self.in_degree = nn.Embedding(MAX_DEGREE + 1, hid)
        self.out_degree = nn.Embedding(MAX_DEGREE + 1, hid)
        self.input_distance = nn.Embedding(MAX_INPUT_DISTANCE + 1, hid)
        self.edge_bias = EdgeBias(hid, heads)
        self.layers = nn.ModuleList(GraphormerLayer(hid, heads) for _ in range(layers))

    def forward(self, x: Tensor, pairs: NodePairs) -> Tensor:
        """Updated node features.

        Args:
            x: features of the nodes of all graphs, one graph after the other, ``(num_nodes, hid)``; left as they are.
            pairs: degrees and distances of these nodes.

        Raises:
            GraphError: if the pairs are of other graphs.
        """
        if x.size(0) != pairs.num_nodes:
            raise GraphError(f"'x' must have one row per node of the pairs: {pairs.num_nodes} (got {x.size(0)})")
        device = x.device
        in_degree, out_degree = pairs.degree.to(device)
        x = x + self.in_degree(in_degree) + self.out_degree(out_degree)
        x = x + self.input_distance(pairs.input_distance.to(device))
        table = self.edge_bias()
        found = []
        for rows, relation in pairs.blocks:
            hidden = x[rows.to(device)]
            # Contiguous in the last dimension for each head, which attention reads once per layer.
            index = relation.to(device).int()
            bias = table.index_select(1, index.flatten()).view(-1, *relation.shape).transpose(0, 1)
            for layer in self.layers:
                hidden = layer(hidden, bias)
            found.append(hidden.flatten(0, 1))
        return torch.cat(found).index_select(0, pairs.place.to(device))


class GraphormerLayer(nn.Module):
    """Attention and a hidden layer, each of normalised features and added to what they were.

    Args:
        hid: width of the features.
        heads: attention heads.
    """

    def __init__(self, hid: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.ln1 = nn.LayerNorm(hid)
        self.qkv = nn.Linear(hid, 3 * hid, bias=False)
        self.out = nn.Linear(hid, hid)
        self.ln2 = nn.LayerNorm(hid)
        self.mlp = nn.Sequential(nn.Linear(hid, 4 * hid), nn.GELU(), nn.Linear(4 * hid, hid))

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """Updated features ``(graphs, nodes, hid)``.

        Args:
            x: the features.
            bias: added to the logits of attention, ``(graphs, heads, nodes, nodes)``.
        """
        qkv = self.qkv(self.ln1(x)).view(*x.shape[:2], 3, self.heads, -1)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        x = x + self.out(attended.transpose(1, 2).flatten(2))
        found: Tensor = x + self.mlp(self.ln2(x))
        return found


class EdgeBias(nn.Module):
    """What two nodes' relation adds to the logits of attention.

    The lengths of the shortest paths from one node to the other and back are embedded by one table and joined; a hidden
    layer makes one number per head of them.  In a DAG one of both paths is always missing, so there are but
    ``2 * CUTOFF + 1`` relations, and each is worked out once however many pairs of nodes have it.

    Args:
        hid: width of the embeddings, even.
        heads: attention heads.
    """

    def __init__(self, hid: int, heads: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(DISTANCES, hid)
        with torch.no_grad():
            self.embed.weight.copy_(_sinusoids(DISTANCES, hid))
        self.mlp = MLP(2 * hid, (hid, heads), last_relu=False)

    def forward(self) -> Tensor:
        """Bias for each head and relation of a ``PairBlock``, ``(heads, relations)``; the last is that to padding."""
        relation = torch.arange(PADDING, device=self.embed.weight.device) - CUTOFF
        paths = torch.stack((relation, -relation), dim=1).clamp_(min=0)
        found: Tensor = self.mlp(self.embed(paths + 2).flatten(1))
        return torch.cat((found, found.new_full((1, found.size(1)), MASK))).t().contiguous()


def _sinusoids(rows: int, width: int) -> Tensor:
    """Positional encodings (Vaswani et al., arXiv:1706.03762, section 3.5), the first of them zeros."""
    angle = torch.arange(rows)[:, None] * torch.exp(torch.arange(0, width, 2) * (-math.log(1e4) / width))
    found = torch.stack((angle.sin(), angle.cos()), dim=2).flatten(1)
    found[0] = 0
    return found
