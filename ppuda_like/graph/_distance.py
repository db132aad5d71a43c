"""Shortest directed paths between all pairs of nodes (virtual edges) and longest paths from the sources (levels)."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ppuda_like.errors import GraphError
from ppuda_like.graph._graph import ComputationalGraph

__all__ = ["VirtualEdges", "all_pairs_distance", "average_distance", "levels", "longest_path_levels", "virtual_edges"]

BLOCK_BYTES = 1 << 23


class VirtualEdges(NamedTuple):
    """Ordered pairs of nodes joined by a directed path, with the length of the shortest one.

    Attributes:
        edge_index: long tensor of shape ``(2, num_pairs)``, sources and targets, ordered by target and then by source.
        distance: long tensor of shape ``(num_pairs,)``, at least 1; the real edges are the pairs at distance 1.
    """

    edge_index: Tensor
    distance: Tensor


def virtual_edges(graph: ComputationalGraph, cutoff: int | None = 50) -> VirtualEdges:
    """Every pair (u, v) whose shortest directed path from u to v has 1 to ``cutoff`` edges (arXiv:2110.13100, Eq. 4).

    Real edges are included, at distance 1.

    Args:
        graph: the graph.
        cutoff: longest distance kept; None keeps all.

    Raises:
        GraphError: if the cutoff is below 1.

    Example:
        >>> from ppuda_like.graph import ComputationalGraph, make_edge_index
        >>> chain = ComputationalGraph(
        ...     ops=("input", "conv", "bn"), edge_index=make_edge_index([(0, 1), (1, 2)]), inputs=(0,), outputs=(2,)
        ... )
        >>> pairs = virtual_edges(chain)
        >>> pairs.edge_index.tolist(), pairs.distance.tolist()
        ([[0, 0, 1], [1, 2, 2]], [1, 2, 1])
    """
    return all_pairs_distance(graph.edge_index, graph.num_nodes, cutoff)


def levels(graph: ComputationalGraph) -> Tensor:
    """Longest path, in edges, from any node without predecessors to each node; long, of shape ``(num_nodes,)``.

    Nodes of one level are never joined by a path, and every edge goes to a higher level.
    """
    return longest_path_levels(graph.edge_index, graph.num_nodes)


def all_pairs_distance(edge_index: Tensor, num_nodes: int, cutoff: int | None = 50) -> VirtualEdges:
    """:func:`virtual_edges` of a bare edge list.

    The distances to a node are one more than the least distances to its predecessors, so one pass over the nodes
    suffices, each step working on the vector of all sources at once.  Sources are taken in blocks, so that memory is
    linear in the result and the number of nodes: a few times the result plus at most about 25 MB.

    Args:
        edge_index: long, of shape ``(2, num_edges)``; source < target in every column, in any order.
        num_nodes: number of nodes.
        cutoff: longest distance kept; None keeps all.

    Returns:
        The pairs, on the device of ``edge_index``.

    Raises:
        GraphError: if the cutoff is below 1, or an edge points backward or out of range.

    Example:
        >>> import torch
        >>> all_pairs_distance(torch.tensor([[0, 1, 0], [1, 2, 2]]), num_nodes=3).distance.tolist()
        [1, 1, 1]
    """
    if cutoff is not None and cutoff < 1:
        raise GraphError(f"'cutoff' must be at least 1, or None for no limit (got {cutoff})")
    sources, starts = _by_target(edge_index, num_nodes)
    limit = _longest(num_nodes) if cutoff is None else min(cutoff, _longest(num_nodes))
    parts = [
        _pairs(_distances(sources, starts, first, last, limit), first, limit) for first, last in _blocks(num_nodes)
    ]
    pairs = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
    if len(parts) > 1:
        pairs = pairs[:, np.argsort(pairs[1], kind="stable")]
    found = torch.from_numpy(pairs).to(edge_index.device)
    return VirtualEdges(found[:2], found[2])


def average_distance(edge_index: Tensor, num_nodes: int) -> float:
    """Mean shortest path length, in edges, over the ordered pairs joined by a directed path; 0 where there is none.

    Memory does not grow with the number of pairs.

    Args:
        edge_index: long, of shape ``(2, num_edges)``; source < target in every column, in any order.
        num_nodes: number of nodes.

    Raises:
        GraphError: if an edge points backward or out of range.

    Example:
        >>> import torch
        >>> average_distance(torch.tensor([[0, 1], [1, 2]]), num_nodes=3) == 4 / 3
        True
    """
    sources, starts = _by_target(edge_index, num_nodes)
    limit, count, total = _longest(num_nodes), 0, 0
    for first, last in _blocks(num_nodes):
        dist = _distances(sources, starts, first, last, limit)
        joined = (dist - 1) < limit
        count += int(np.count_nonzero(joined))
        total += int(dist.sum(where=joined, dtype=np.int64))
    return total / max(1, count)


def longest_path_levels(edge_index: Tensor, num_nodes: int) -> Tensor:
    """:func:`levels` of a bare edge list, on its device.

    Args:
        edge_index: long, of shape ``(2, num_edges)``; source < target in every column, in any order.
        num_nodes: number of nodes.

    Raises:
        GraphError: if an edge points backward or out of range.

    Example:
        >>> import torch
        >>> longest_path_levels(torch.tensor([[0, 1, 0], [1, 2, 2]]), num_nodes=4).tolist()
        [0, 1, 2, 0]
    """
    sources, starts = _by_target(edge_index, num_nodes)
    flat, bounds = sources.tolist(), starts.tolist()
    found: list[int] = []
    for first, last in itertools.pairwise(bounds):
        found.append(1 + max([found[source] for source in flat[first:last]], default=-1))
    return torch.tensor(found, dtype=torch.long, device=edge_index.device)


def _by_target(edge_index: Tensor, num_nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Sources grouped by target, and where the group of each target starts."""
    if edge_index.dim() != 2 or edge_index.size(0) != 2:
        raise GraphError(f"'edge_index' must have shape (2, num_edges) (got {tuple(edge_index.shape)})")
    source, target = edge_index.cpu().numpy()
    if source.size:
        if source.min() < 0 or target.max() >= num_nodes:
            ids = f"{min(source.min(), target.min())}..{max(source.max(), target.max())}"
            raise GraphError(f"'edge_index' must hold node ids 0..{num_nodes - 1} (got {ids})")
        if (source >= target).any():
            raise GraphError("'edge_index' must point forward (source < target); sort the nodes topologically first")
        if (target[1:] < target[:-1]).any():
            order = np.argsort(target, kind="stable")
            source, target = source[order], target[order]
    return source, np.searchsorted(target, np.arange(num_nodes + 1))


def _longest(num_nodes: int) -> int:
    """Most edges a path can have."""
    return max(1, num_nodes - 1)


def _blocks(num_nodes: int) -> list[tuple[int, int]]:
    """Ranges of sources whose distances to all nodes fit in one block of memory."""
    width = max(64, BLOCK_BYTES // max(1, num_nodes))
    return [(first, min(first + width, num_nodes)) for first in range(0, num_nodes, width)] or [(0, 0)]


def _distances(sources: np.ndarray, starts: np.ndarray, first: int, last: int, limit: int) -> np.ndarray:
    """Distances to nodes ``first`` on (rows) from nodes first..last-1 (columns); over ``limit`` where there is no path.

    Nodes before ``first`` need no row: no source of the block reaches them.
    """
    num_nodes, width = len(starts) - 1, last - first
    far = limit + 1
    # The type has room for the sums beyond ``far``; the last row is a spare one, for predecessors before the block.
    dist = np.full((num_nodes - first + 1, width), far, dtype=np.uint16 if far + num_nodes < 1 << 16 else np.uint32)
    one = dist.dtype.type(1)
    bounds = starts[first:].tolist()
    rows = np.maximum(sources[bounds[0] :] - first, -1)
    flat, offset = rows.tolist(), bounds[0]
    for node in range(num_nodes - first):
        begin, end = bounds[node] - offset, bounds[node + 1] - offset
        row = dist[node]
        if end - begin == 1:
            np.add(dist[flat[begin]], one, out=row)
        elif end - begin == 2:
            np.minimum(dist[flat[begin]], dist[flat[begin + 1]], out=row)
            np.add(row, one, out=row)
        elif end > begin:
            np.minimum.reduce(dist[rows[begin:end]], axis=0, out=row)
            np.add(row, one, out=row)
        if node < width:
            row[node] = 0
    return dist[:-1]


def _pairs(dist: np.ndarray, first: int, limit: int) -> np.ndarray:
    """Sources, targets and distances of the pairs at 1..limit, as rows of one array ordered by target, then source."""
    kept = (dist - 1) < limit  # unsigned: the 0 of a node itself wraps round to the largest number
    pairs = np.empty((3, np.count_nonzero(kept)), dtype=np.int64)
    pairs[1] = np.repeat(np.arange(len(dist)), np.count_nonzero(kept, axis=1))
    np.subtract(np.flatnonzero(kept), pairs[1] * dist.shape[1], out=pairs[0])
    pairs[:2] += first
    pairs[2] = dist[kept]
    return pairs
