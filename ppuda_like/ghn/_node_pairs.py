"""What a Graphormer reads of graphs besides the features of their nodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ppuda_like.graph import ComputationalGraph, virtual_edges

__all__ = ["CUTOFF", "MAX_DEGREE", "MAX_INPUT_DISTANCE", "PADDING", "NodePairs", "PairBlock"]

CUTOFF = 50
"""Longest path, in edges, that hypernetworks see; longer ones are none."""
MAX_DEGREE = 100
MAX_INPUT_DISTANCE = 1000
PADDING = 2 * CUTOFF + 1
"""The relation to a node that is not there; those to nodes that are come before it."""

MOST_PADDED = 1.25
MOST_PAIRS = 1 << 20


class PairBlock(NamedTuple):
    """Graphs of about the same size, padded to that of the largest.

    Attributes:
        rows: row of each node among the nodes of the batch, shape ``(graphs, nodes)``; 0 for padding.
        relation: how node i (rows) and node j (columns) of a graph are related, uint8 of shape ``(graphs, nodes,
            nodes)``: ``CUTOFF + s`` where the shortest path from i to j has s edges, ``CUTOFF - s`` where that from j
            to i has, ``CUTOFF`` where there is none or i = j, ``PADDING`` where j is padding.
    """

    rows: Tensor
    relation: Tensor


@dataclass(frozen=True, eq=False)
class NodePairs:
    """Degrees of the nodes of a batch of graphs, and distances between those of each.

    Attributes:
        num_nodes: nodes of all graphs, numbered one graph after the other.
        degree: edges into and out of each node, at most ``MAX_DEGREE``, shape ``(2, num_nodes)``.
        input_distance: edges of the shortest path from an input to each node, shape ``(num_nodes,)``; 0 for inputs and
            where there is no path of at most ``CUTOFF`` edges.
        blocks: the graphs in groups of about the same size.
        place: where each node is among the rows of all blocks, padding included, shape ``(num_nodes,)``.
    """

    num_nodes: int
    degree: Tensor
    input_distance: Tensor
    blocks: tuple[PairBlock, ...]
    place: Tensor

    @classmethod
    def build(cls, graphs: Sequence[ComputationalGraph], *, virtual: bool) -> NodePairs:
        """The pairs of a batch of graphs.

        Memory grows with the square of the nodes of each graph: one byte a pair.

        Args:
            graphs: the graphs, at least one.
            virtual: whether nodes further apart than one edge are related.

        Example:
            >>> from ppuda_like.graph import make_edge_index
            >>> chain = ComputationalGraph(
            ...     ops=("input", "conv", "bn"), edge_index=make_edge_index([(0, 1), (1, 2)]), inputs=(0,), outputs=(2,)
            ... )
            >>> pairs = NodePairs.build([chain], virtual=True)
            >>> pairs.input_distance.tolist(), (pairs.blocks[0].relation[0].int() - CUTOFF).tolist()
            ([0, 1, 2], [[0, 1, 2], [-1, 0, 1], [-2, -1, 0]])
        """
        sizes = [graph.num_nodes for graph in graphs]
        first = [sum(sizes[:number]) for number in range(len(sizes))]
        place = torch.empty(sum(sizes), dtype=torch.long)
        input_distance = torch.empty(sum(sizes), dtype=torch.long)
        blocks: list[PairBlock] = []
        begin = 0
        for group in _groups(sizes):
            longest = max(sizes[number] for number in group)
            rows = torch.zeros(len(group), longest, dtype=torch.long)
            relation = torch.full((len(group), longest, longest), PADDING, dtype=torch.uint8)
            for row, number in enumerate(group):
                size, nodes = sizes[number], slice(first[number], first[number] + sizes[number])
                found = _relation(graphs[number], CUTOFF if virtual else 1)
                relation[row, :size, :size] = found
                rows[row, :size] = torch.arange(nodes.start, nodes.stop)
                place[nodes] = torch.arange(begin, begin + size)
                input_distance[nodes] = _input_distance(found, graphs[number].inputs)
                begin += longest
            blocks.append(PairBlock(rows, relation))
        return cls(
            num_nodes=sum(sizes),
            degree=torch.cat([_degrees(graph) for graph in graphs], dim=1),
            input_distance=input_distance,
            blocks=tuple(blocks),
            place=place,
        )


def _relation(graph: ComputationalGraph, cutoff: int) -> Tensor:
    """:attr:`PairBlock.relation` of one graph."""
    (source, target), distance = virtual_edges(graph, cutoff=cutoff)
    found = torch.full((graph.num_nodes, graph.num_nodes), CUTOFF, dtype=torch.uint8)
    found[source, target] = (CUTOFF + distance).to(torch.uint8)
    found[target, source] = (CUTOFF - distance).to(torch.uint8)
    return found


def _degrees(graph: ComputationalGraph) -> Tensor:
    source, target = graph.edge_index
    counts = [torch.bincount(ends, minlength=graph.num_nodes) for ends in (target, source)]
    return torch.stack(counts).clamp_(max=MAX_DEGREE)


def _input_distance(relation: Tensor, inputs: Sequence[int]) -> Tensor:
    """:attr:`NodePairs.input_distance` of one graph."""
    distance = relation[list(inputs)].long() - CUTOFF
    far = MAX_INPUT_DISTANCE + 1
    nearest = distance.masked_fill(distance <= 0, far).amin(dim=0)
    nearest[list(inputs)] = 0
    return nearest.masked_fill_(nearest == far, 0)


def _groups(sizes: Sequence[int]) -> list[list[int]]:
    """Numbers of the graphs that are padded to the same size: few groups, with little padding and of bounded memory."""
    groups: list[list[int]] = []
    longest = pairs = 0
    for number in sorted(range(len(sizes)), key=lambda number: -sizes[number]):
        padded = longest**2 * (len(groups[-1]) + 1) if groups else 0
        if not groups or padded > MOST_PAIRS or padded > MOST_PADDED * (pairs + sizes[number] ** 2):
            groups.append([])
            longest, pairs = sizes[number], 0
        groups[-1].append(number)
        pairs += sizes[number] ** 2
    return groups
