"""Small graphs and networks for the tests of graph regressors."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from ppuda_like.graph import ComputationalGraph, make_edge_index
from ppuda_like.predictors._gnn import GraphNetwork, GraphNetworkConfig
from ppuda_like.predictors._gnn_data import GLOBAL_FEATURES, NODE_FEATURES, Encoder, Standardizer
from ppuda_like.predictors._gnn_train import EncodedGraphs


def chain(*ops: str, skip: bool = False, channels: int = 8) -> ComputationalGraph:
    """Operations one after the other, optionally with an edge from the first to the last."""
    edges = {(i, i + 1) for i in range(len(ops) - 1)} | ({(0, len(ops) - 1)} if skip else set())
    convs = [op == "conv" for op in ops]
    return ComputationalGraph(
        ops=ops,
        edge_index=make_edge_index(edges),
        inputs=(0,),
        outputs=(len(ops) - 1,),
        param_names=tuple((f"{i}.weight",) if conv else () for i, conv in enumerate(convs)),
        param_shapes=tuple(((channels, channels, 3, 3),) if conv else () for conv in convs),
        flops=tuple(channels**2 if conv else 0 for conv in convs),
        out_shapes=((1, channels, 4, 4),) * len(ops),
    )


def chains(count: int, seed: int = 0) -> list[ComputationalGraph]:
    """Chains of 'conv', 'bn' and 'pool' of lengths 2..6, drawn at random."""
    random = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        ops = random.choice(("conv", "bn", "pool"), size=random.integers(1, 6)).tolist()
        found.append(chain("input", *ops, skip=bool(random.integers(2)), channels=int(random.choice((4, 8, 16)))))
    return found


def reordered(graph: ComputationalGraph, order: Sequence[int]) -> ComputationalGraph:
    """The same graph with old node ``order[i]`` at place i."""
    place = {old: new for new, old in enumerate(order)}
    by_node: dict[str, Any] = {
        name: tuple(getattr(graph, name)[old] for old in order)
        for name in ("ops", "names", "param_names", "param_shapes", "out_shapes", "attributes", "flops")
    }
    return ComputationalGraph(
        edge_index=make_edge_index((place[u], place[v]) for u, v in graph.edge_index.t().tolist()),
        inputs=tuple(place[node] for node in graph.inputs),
        outputs=tuple(place[node] for node in graph.outputs),
        vocabulary=graph.vocabulary,
        name=graph.name,
        **by_node,
    )


def encoded(graphs: Sequence[ComputationalGraph], encoder: Encoder) -> EncodedGraphs:
    """Graphs as a network reads them, standardised by themselves."""
    arrays = [encoder(graph) for graph in graphs]
    facts = np.array([found.facts for found in arrays])
    return EncodedGraphs(
        arrays=arrays,
        facts=Standardizer.fit(facts)(facts),
        standardize=Standardizer.fit(np.concatenate([found.x for found in arrays])),
        virtual=encoder.virtual_cutoff is not None,
    )


def network(encoder: Encoder, seed: int = 0, **changes: Any) -> GraphNetwork:
    """A small network with weights drawn, in evaluation mode."""
    config = GraphNetworkConfig(
        **{
            "num_ops": len(encoder.ops),
            "num_features": len(NODE_FEATURES),
            "num_facts": len(GLOBAL_FEATURES),
            "members": 2,
            "hidden": 8,
            "num_layers": 2,
            "virtual": encoder.virtual_cutoff is not None,
            **changes,
        }
    )
    found = GraphNetwork(config)
    found.initialize(torch.Generator().manual_seed(seed))
    return found.eval()
