"""Slow and simple forms of what the package does fast."""

import torch
from torch import Tensor

from ppuda_like.ghn import GatedGNN, GraphEdges
from ppuda_like.graph import all_pairs_distance
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
