"""Graphs made ready for a hypernetwork: everything that does not depend on its weights."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ppuda_like.errors import PredictionError
from ppuda_like.ghn._config import GHNConfig
from ppuda_like.ghn._node_pairs import CUTOFF, NodePairs
from ppuda_like.ghn._schedule import GraphEdges, VisitSchedule
from ppuda_like.ghn._shape_encoder import ShapeEncoder
from ppuda_like.ghn._targets import DecodeKey, Target, class_layer_nodes, targets_of
from ppuda_like.graph import PPUDA, ComputationalGraph, levels, virtual_edges

__all__ = ["GraphBatch", "lowered"]


@dataclass(frozen=True, eq=False)
class GraphBatch:
    """A batch of lowered graphs as a hypernetwork of one configuration reads them; :meth:`GHN.prepare` makes it.

    Attributes:
        config: configuration of the hypernetwork.
        num_nodes: nodes of each graph.
        op_index: row of each node's primitive in the vocabulary, shape ``(all nodes,)``.
        shape_index: rows of each node's sizes in the tables of the shape encoder, shape ``(all nodes, 4)``.
        schedule: order of visits, for a hypernetwork that is a :class:`GatedGNN`.
        pairs: degrees and distances, for one that is a :class:`Graphormer`.
        targets: the tensors to predict, by graph; none in a batch that is only embedded.
        predict_class_layers: whether the class layers are among them.
    """

    config: GHNConfig
    num_nodes: tuple[int, ...]
    op_index: Tensor
    shape_index: Tensor
    schedule: VisitSchedule | None
    pairs: NodePairs | None
    targets: tuple[tuple[Target, ...], ...]
    predict_class_layers: bool

    @classmethod
    def build(
        cls,
        graphs: Sequence[ComputationalGraph],
        config: GHNConfig,
        encoder: ShapeEncoder,
        *,
        predict_class_layers: bool = True,
        with_targets: bool = True,
    ) -> GraphBatch:
        """See :meth:`GHN.prepare`; without targets, embedding needs no look at every tensor."""
        if not graphs:
            raise PredictionError("there is nothing to predict: pass at least one graph (got none)")
        graphs = [lowered(graph) for graph in graphs]
        counts = tuple(graph.num_nodes for graph in graphs)
        first = itertools.accumulate(counts, initial=0)
        return cls(
            config=config,
            num_nodes=counts,
            op_index=torch.tensor([PPUDA.index[op] for graph in graphs for op in graph.ops]),
            shape_index=encoder.index(
                [shape for graph in graphs for shape in _shapes(graph, config, predict_class_layers)]
            ),
            schedule=_schedule(graphs, config) if config.hypernet == "gatedgnn" else None,
            pairs=NodePairs.build(graphs, virtual=config.ve) if config.hypernet == "graphormer" else None,
            targets=tuple(
                tuple(targets_of(graph, config, first_node=node, predict_class_layers=predict_class_layers))
                for graph, node in zip(graphs, first, strict=False)
            )
            if with_targets
            else (),
            predict_class_layers=predict_class_layers,
        )

    @cached_property
    def groups(self) -> dict[DecodeKey, list[tuple[int, Target]]]:
        """Tensors of all graphs that are decoded together, each with the number of its graph."""
        found: dict[DecodeKey, list[tuple[int, Target]]] = {}
        for number, targets in enumerate(self.targets):
            for target in targets:
                found.setdefault(target.key, []).append((number, target))
        return found


def lowered(graph: ComputationalGraph) -> ComputationalGraph:
    """The graph in the vocabulary of hypernetworks.

    Raises:
        PredictionError: if it is lowered to another vocabulary.
    """
    if graph.vocabulary is None:
        return graph.lower(PPUDA.name)
    if graph.vocabulary != PPUDA.name:
        raise PredictionError(
            f"a GHN reads graphs in the vocabulary '{PPUDA.name}', the graph of {graph.name or 'this network'} is in "
            f"'{graph.vocabulary}'; pass the full trace, or lower that to '{PPUDA.name}'"
        )
    return graph


def _shapes(
    graph: ComputationalGraph, config: GHNConfig, predict_class_layers: bool
) -> list[tuple[int, int, int, int]]:
    """Shape feature of each node; a class layer that is left alone reads as one of the hypernetwork's own classes."""
    shapes = graph.node_shapes()
    if not predict_class_layers:
        for node in class_layer_nodes(graph):
            shapes[node] = (config.num_classes, *shapes[node][1:])
    return shapes


def _schedule(graphs: Sequence[ComputationalGraph], config: GHNConfig) -> VisitSchedule:
    edges = []
    for graph in graphs:
        if config.ve:
            edge_index, distance = virtual_edges(graph, cutoff=CUTOFF)
        else:
            edge_index, distance = graph.edge_index, torch.ones(graph.num_edges, dtype=torch.long)
        edges.append(GraphEdges(graph.num_nodes, edge_index, distance, levels(graph)))
    return VisitSchedule.build(edges, virtual=config.ve)
