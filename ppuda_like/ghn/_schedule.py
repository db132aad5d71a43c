"""The order in which a GatedGNN visits the nodes of a batch of graphs, laid out for few and large tensor calls."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ppuda_like.errors import GraphError

__all__ = ["GraphEdges", "SweepTables", "VisitSchedule"]

BLOCK_LEVELS = 32
BLOCK_NODES = 128

Ints = npt.NDArray[np.integer[Any]]
Floats = npt.NDArray[np.float32]


class GraphEdges(NamedTuple):
    """What a schedule needs to know of one graph.

    Attributes:
        num_nodes: number of nodes.
        edge_index: long tensor of shape ``(2, num_edges)``, sources and targets.
        distance: shape ``(num_edges,)``: 1 for a real edge, the length of the shortest path for a virtual one.
        level: shape ``(num_nodes,)``: longest path from a source; every edge goes to a higher level.
    """

    num_nodes: int
    edge_index: Tensor
    distance: Tensor
    level: Tensor


class SweepTables(NamedTuple):
    """How messages are summed in one pass over the nodes.

    The sum over sources is split in two.  Sources in blocks visited before are summed for a whole block at once, by
    bags of weighted table rows; sources in the same block by a small dense matrix per level.

    Attributes:
        indices: per block, the table rows that its bags sum.
        offsets: per block, where each bag begins and the last one ends.
        weights: per block, the factor of each row.
        inner: per level, the dense matrix onto the rows of its block; None where no source is in the block.
    """

    indices: Sequence[Tensor]
    offsets: Sequence[Tensor]
    weights: Sequence[Tensor]
    inner: Sequence[Tensor | None]


class _Messages(NamedTuple):
    """Who sends to whom when all messages run along the edges, by position in the order of visits."""

    source: Ints
    target: Ints
    channel: Ints
    distance: Floats

    def take(self, index: Ints) -> _Messages:
        source, target, channel, distance = self
        return _Messages(source.take(index), target.take(index), channel.take(index), distance.take(index))

    def then(self, others: _Messages) -> _Messages:
        return _Messages(
            np.concatenate((self.source, others.source)),
            np.concatenate((self.target, others.target)),
            np.concatenate((self.channel, others.channel)),
            np.concatenate((self.distance, others.distance)),
        )


@dataclass(frozen=True, eq=False)
class VisitSchedule:
    """Levels of the disjoint union of several graphs, with the messages that each level receives.

    Nodes of one level are never joined by a path, so a GatedGNN may update them together, those of other graphs of the
    batch included.  Nodes are sorted by level; consecutive levels form blocks of bounded size.  Memory is linear in
    nodes and edges.

    Each node u sends one row per *channel*: channel 0 goes over real edges with weight 1, channel 1 (virtual edges
    only) over all edges with weight 1 / distance.  Table row ``num_channels * u + c`` holds what u sends on channel c.

    Attributes:
        num_nodes: nodes of all graphs.
        num_channels: 2 with virtual edges, else 1.
        order: node visited at each position, shape ``(num_nodes,)``.
        rank: position of each node, the inverse of ``order``.
        level_sizes: nodes per level.
        blocks: per block, its first level and the level after its last.
    """

    num_nodes: int
    num_channels: int
    order: Tensor
    rank: Tensor
    level_sizes: tuple[int, ...]
    blocks: tuple[tuple[int, int], ...]
    _inner: _Messages = field(repr=False)
    _outer: _Messages = field(repr=False)
    _tables: dict[tuple[bool, bool, torch.dtype, torch.device], SweepTables] = field(default_factory=dict, repr=False)

    @classmethod
    def build(cls, graphs: Sequence[GraphEdges], *, virtual: bool) -> VisitSchedule:
        """The schedule of a batch of graphs, whose nodes are numbered one graph after the other.

        Args:
            graphs: the graphs; edges at distance above 1 are ignored unless ``virtual``.
            virtual: whether the second channel exists.

        Raises:
            GraphError: if there is no graph, or an edge does not go to a higher level.

        Example:
            >>> chain = GraphEdges(3, torch.tensor([[0, 1], [1, 2]]), torch.ones(2), torch.arange(3))
            >>> VisitSchedule.build([chain, chain], virtual=False).level_sizes
            (2, 2, 2)
        """
        if not graphs:
            raise GraphError("a schedule needs at least one graph (got none)")
        first = np.cumsum([0, *(graph.num_nodes for graph in graphs)])
        num_nodes = int(first[-1])
        level = np.concatenate([graph.level.cpu().numpy() for graph in graphs])
        order = np.argsort(_small(level, num_nodes), kind="stable")
        rank = np.empty(num_nodes, dtype=np.int32)
        rank[order] = np.arange(num_nodes, dtype=np.int32)
        sizes = np.bincount(level).tolist()
        blocks = _blocks(sizes)
        block = np.repeat(np.arange(len(blocks), dtype=np.int32), [sum(sizes[begin:end]) for begin, end in blocks])

        ends = [
            rank[begin : begin + graph.num_nodes].take(graph.edge_index.cpu().numpy())
            for graph, begin in zip(graphs, first, strict=False)
        ]
        source, target = np.concatenate(ends, axis=1)
        distance = np.concatenate([graph.distance.cpu().numpy().astype(np.float32) for graph in graphs])
        place = _small(level[order], num_nodes)
        if (place.take(source) >= place.take(target)).any():
            raise GraphError(
                "every edge must go from a lower level to a higher one; sort the nodes topologically first"
            )
        real = np.flatnonzero(distance == 1)
        messages = _Messages(source[real], target[real], np.zeros(len(real), dtype=np.int8), distance[real])
        if virtual:
            messages = _Messages(source, target, np.ones(len(source), dtype=np.int8), distance).then(messages)
        same = block.take(messages.source) == block.take(messages.target)
        return cls(
            num_nodes=num_nodes,
            num_channels=2 if virtual else 1,
            order=torch.from_numpy(order),
            rank=torch.from_numpy(rank),
            level_sizes=tuple(sizes),
            blocks=tuple(blocks),
            _inner=messages.take(np.flatnonzero(same)),
            _outer=messages.take(np.flatnonzero(~same)),
        )

    @cached_property
    def block_sizes(self) -> tuple[int, ...]:
        """Nodes per block."""
        return tuple(sum(self.level_sizes[first:last]) for first, last in self.blocks)

    def tables(self, *, backward: bool, adjoint: bool, dtype: torch.dtype, device: torch.device) -> SweepTables:
        """The sums of one pass, or of the pass of its gradients; made once and kept.

        Args:
            backward: whether messages run against the edges.
            adjoint: whether to sum, for each table row, over the nodes that received it.
            dtype: dtype of the weights.
            device: device of the tables.
        """
        key = (backward, adjoint, dtype, device)
        if key not in self._tables:
            self._tables[key] = self._make_tables(*key)
        return self._tables[key]

    def _make_tables(self, backward: bool, adjoint: bool, dtype: torch.dtype, device: torch.device) -> SweepTables:
        row_scale, column_scale = (self.num_channels, 1) if adjoint else (1, self.num_channels)
        rows, columns, distance = self._entries(self._outer, backward, adjoint)
        order = np.argsort(_small(rows, row_scale * self.num_nodes), kind="stable")
        pointer = np.zeros(row_scale * self.num_nodes + 1, dtype=np.int32)
        np.cumsum(np.bincount(rows, minlength=len(pointer) - 1), out=pointer[1:])
        starts = row_scale * np.cumsum([0, *self.block_sizes])
        counts = np.diff(pointer[starts]).tolist()
        offsets = [pointer[begin : end + 1] - pointer[begin] for begin, end in itertools.pairwise(starts)]
        return SweepTables(
            indices=torch.from_numpy(columns.take(order)).to(device).split_with_sizes(counts),
            offsets=torch.from_numpy(np.concatenate(offsets)).to(device).split_with_sizes(list(map(len, offsets))),
            weights=torch.from_numpy(distance.take(order)).to(device, dtype).reciprocal().split_with_sizes(counts),
            inner=self._inner_matrices(
                *self._entries(self._inner, backward, adjoint), row_scale, column_scale, dtype, device
            ),
        )

    def _entries(self, messages: _Messages, backward: bool, adjoint: bool) -> tuple[Ints, Ints, Floats]:
        """Rows, columns and inverse values of the matrix from what is sent to what is received, or of its transpose."""
        source, target, channel, distance = messages
        sender, receiver = (target, source) if backward else (source, target)
        row = sender if self.num_channels == 1 else 2 * sender + channel
        return (row, receiver, distance) if adjoint else (receiver, row, distance)

    def _inner_matrices(
        self,
        rows: Ints,
        columns: Ints,
        distance: Floats,
        row_scale: int,
        column_scale: int,
        dtype: torch.dtype,
        device: torch.device,
    ) -> list[Tensor | None]:
        """Dense matrices, one per level, in one piece of memory; blocks of one level need none."""
        sizes = np.array(
            [size if last - first > 1 else 0 for size, (first, last) in zip(self.block_sizes, self.blocks, strict=True)]
        )
        starts = np.cumsum([0, *self.block_sizes])[:-1]
        base = row_scale * column_scale * np.cumsum([0, *(sizes**2)])
        block = np.repeat(np.arange(len(self.blocks)), self.block_sizes)[rows // row_scale]
        places = (rows - row_scale * starts[block]) * (column_scale * sizes[block])
        places += base[block] + columns - column_scale * starts[block]
        whole = torch.zeros(int(base[-1]), dtype=dtype)
        whole[torch.from_numpy(places)] = torch.from_numpy(distance).to(dtype).reciprocal()
        whole = whole.to(device)
        found: list[Tensor | None] = []
        for number, (first, last) in enumerate(self.blocks):
            if last - first == 1:
                found.append(None)
                continue
            matrix = whole[base[number] : base[number + 1]].view(-1, column_scale * int(sizes[number]))
            found += matrix.split_with_sizes([row_scale * size for size in self.level_sizes[first:last]])
        return found


def _small(numbers: Ints, limit: int) -> Ints:
    """The numbers in 16 bits where they fit, which numpy sorts in linear time."""
    return numbers.astype(np.uint16) if limit <= 1 << 16 else numbers


def _blocks(level_sizes: Sequence[int]) -> list[tuple[int, int]]:
    """Runs of consecutive levels of at most ``BLOCK_LEVELS`` levels and, unless of one level, ``BLOCK_NODES`` nodes."""
    found: list[tuple[int, int]] = []
    first, nodes = 0, 0
    for level, size in enumerate(level_sizes):
        if level > first and (level - first == BLOCK_LEVELS or nodes + size > BLOCK_NODES):
            found.append((first, level))
            first, nodes = level, 0
        nodes += size
    return [*found, (first, len(level_sizes))]
