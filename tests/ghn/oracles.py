"""Slow and simple forms of what the package does fast."""

import networkx as nx
import torch
import torch.nn.functional as F
from torch import Tensor

from ppuda_like.ghn import GatedGNN, GraphEdges, Graphormer
from ppuda_like.graph import ComputationalGraph, all_pairs_distance
from ppuda_like.graph._distance import longest_path_levels


def visit_one_by_one(gnn: GatedGNN, x: Tensor, edge_index: Tensor, distance: Tensor) -> Tensor:
    """A GatedGNN that visits one node at a time; nodes are sorted topologically."""
    hidden = list(x.unbind())
    edges = list(zip(*edge_index.tolist(), distance.tolist(), strict=True))
    for visits, forward in ((range(len(hidden)), True), (reversed(range(len(hidden))), False)):
        for node in visits:
            message = torch.zeros_like(hidden[node])
            for source, target, length in edges if forward else [(v, u, s) for u, v, s in edges]:
                if target == node:
                    if length == 1:
                        message = message + gnn.mlp(hidden[source])
                    if gnn.mlp_ve is not None:
                        message = message + gnn.mlp_ve(hidden[source]) / length
            hidden[node] = gnn.gru(message[None], hidden[node][None])[0]
    return torch.stack(hidden)


def path_lengths(graph: ComputationalGraph, cutoff: int | None = 50) -> Tensor:
    """Edges of the shortest path from node i to node j, 0 where there is none of at most ``cutoff`` edges."""
    drawn = nx.DiGraph(graph.edge_index.t().tolist())
    drawn.add_nodes_from(range(graph.num_nodes))
    found = torch.zeros(graph.num_nodes, graph.num_nodes, dtype=torch.long)
    for source, lengths in nx.all_pairs_shortest_path_length(drawn, cutoff):
        for target, length in lengths.items():
            found[source, target] = length
    return found


def plain_edge_bias(gnn: Graphormer, lengths: Tensor) -> Tensor:
    """Bias of attention for each head, every pair of nodes worked out by itself, ``(heads, nodes, nodes)``."""
    pairs = torch.stack((lengths, lengths.t()), dim=2) + 2
    bias: Tensor = gnn.edge_bias.mlp(gnn.edge_bias.embed(pairs).flatten(2))
    return bias.permute(2, 0, 1)


def plain_graphormer(gnn: Graphormer, x: Tensor, graph: ComputationalGraph) -> Tensor:
    """A Graphormer of the published description: one graph, one head at a time."""
    lengths = path_lengths(graph)
    adjacent = (lengths == 1).long()
    x = x + gnn.in_degree(adjacent.sum(0).clamp(max=100)) + gnn.out_degree(adjacent.sum(1).clamp(max=100))
    (first,) = graph.inputs
    x = x + gnn.input_distance(lengths[first])
    bias = plain_edge_bias(gnn, lengths)
    for layer in gnn.layers:
        query, key, value = layer.qkv(layer.ln1(x)).chunk(3, dim=1)
        size = x.size(1) // layer.heads
        heads = []
        for head in range(layer.heads):
            columns = slice(head * size, (head + 1) * size)
            logits = query[:, columns] @ key[:, columns].t() / size**0.5 + bias[head]
            heads.append(logits.softmax(dim=1) @ value[:, columns])
        x = x + layer.out(torch.cat(heads, dim=1))
        x = x + layer.mlp[2](F.gelu(layer.mlp[0](layer.ln2(x))))
    return x


def edges_of(edge_index: Tensor, num_nodes: int, *, virtual: bool, cutoff: int = 50) -> GraphEdges:
    """What a schedule needs of a graph, from its edges alone."""
    level = longest_path_levels(edge_index, num_nodes)
    if not virtual:
        return GraphEdges(num_nodes, edge_index, torch.ones(edge_index.size(1), dtype=torch.long), level)
    pairs = all_pairs_distance(edge_index, num_nodes, cutoff)
    return GraphEdges(num_nodes, pairs.edge_index, pairs.distance, level)


def tiled(tile: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Entry i, j, ... of the result is entry i % rows, j % columns, ... of the tile."""
    found = tile.reshape(*tile.shape, *(1,) * (len(shape) - tile.dim()))
    for dim, size in enumerate((*shape, *(1,) * (found.dim() - len(shape)))):
        found = found.index_select(dim, torch.arange(size) % found.size(dim))
    return found.reshape(shape)
