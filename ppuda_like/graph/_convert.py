"""The forms a graph is exchanged in: JSON, torch-geometric data, networkx."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import torch

from ppuda_like.errors import GraphError
from ppuda_like.graph._edges import make_edge_index
from ppuda_like.graph._effects import effects_from_json, effects_to_json
from ppuda_like.graph._vocabulary import vocabulary

if TYPE_CHECKING:
    import networkx as nx
    from torch_geometric.data import Data

    from ppuda_like.graph._graph import ComputationalGraph

__all__ = ["fields_from_json", "fields_from_networkx", "to_data", "to_json", "to_networkx"]

JSON_FORMAT = 1


def to_json(graph: ComputationalGraph, *, effects: bool = False) -> str:
    """See :meth:`ComputationalGraph.to_json`."""
    further = {} if graph.effects is None or not effects else {"effects": effects_to_json(graph.effects)}
    return json.dumps(
        {
            **further,
            "format": JSON_FORMAT,
            "name": graph.name,
            "vocabulary": graph.vocabulary,
            "ops": graph.ops,
            "names": graph.names,
            "edges": graph.edge_index.t().tolist(),
            "inputs": graph.inputs,
            "outputs": graph.outputs,
            "param_names": graph.param_names,
            "param_shapes": graph.param_shapes,
            "out_shapes": graph.out_shapes,
            "attributes": graph.attributes,
            "flops": graph.flops,
            "unreached": graph.unreached,
            "tied": graph.tied,
        },
        sort_keys=True,
    )


def fields_from_json(text: str) -> dict[str, Any]:
    """The fields of the graph in a text; see :meth:`ComputationalGraph.from_json`."""
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise GraphError(f"a graph is stored as one JSON object; this text is not JSON: {error}") from error
    if not isinstance(found, dict) or found.get("format") != JSON_FORMAT:
        got = found.get("format") if isinstance(found, dict) else type(found).__name__
        raise GraphError(f'a graph is stored as a JSON object with "format": {JSON_FORMAT} (got {got!r})')
    try:
        return dict(
            name=found["name"],
            vocabulary=found["vocabulary"],
            ops=tuple(found["ops"]),
            names=tuple(found["names"]),
            edge_index=torch.tensor(found["edges"], dtype=torch.long).reshape(-1, 2).t().contiguous(),
            inputs=tuple(found["inputs"]),
            outputs=tuple(found["outputs"]),
            param_names=tuple(map(tuple, found["param_names"])),
            param_shapes=tuple(tuple(map(tuple, shapes)) for shapes in found["param_shapes"]),
            out_shapes=tuple(map(tuple, found["out_shapes"])),
            attributes=tuple(found["attributes"]),
            flops=tuple(found["flops"]),
            unreached=tuple(found["unreached"]),
            tied=tuple((str(alias), str(path)) for alias, path in found["tied"]),
            effects=None if found.get("effects") is None else effects_from_json(found["effects"]),
        )
    except KeyError as error:
        raise GraphError(f"the stored graph lacks the field {error}") from error
    except (TypeError, ValueError) as error:
        raise GraphError(f"the stored graph has a field of the wrong form: {error}") from error


def to_data(graph: ComputationalGraph) -> Data:
    """See :meth:`ComputationalGraph.to_data`."""
    from torch_geometric.data import Data

    data = Data(edge_index=graph.edge_index, num_nodes=graph.num_nodes)
    data.op, data.node_name, data.param_names = list(graph.ops), list(graph.names), list(graph.param_names)
    if graph.vocabulary is not None:
        index = vocabulary(graph.vocabulary).index
        data.x = torch.tensor([[index[op]] for op in graph.ops], dtype=torch.long)
        data.node_shape = torch.tensor(graph.node_shapes(), dtype=torch.long)
    return data


def to_networkx(graph: ComputationalGraph) -> nx.DiGraph:
    """See :meth:`ComputationalGraph.to_networkx`."""
    import networkx as nx

    result = nx.DiGraph(
        name=graph.name,
        vocabulary=graph.vocabulary,
        inputs=graph.inputs,
        outputs=graph.outputs,
        unreached=graph.unreached,
        tied=graph.tied,
    )
    for node, op in enumerate(graph.ops):
        result.add_node(
            node,
            op=op,
            name=graph.names[node],
            param_names=graph.param_names[node],
            param_shapes=graph.param_shapes[node],
            out_shape=graph.out_shapes[node],
            attributes=dict(graph.attributes[node]),
            flops=graph.flops[node],
        )
    result.add_edges_from(graph.edge_index.t().tolist())
    return result


def fields_from_networkx(graph: nx.DiGraph) -> dict[str, Any]:
    """The fields of the graph; see :meth:`ComputationalGraph.from_networkx`."""
    import networkx as nx

    position = {node: i for i, node in enumerate(graph)}
    try:
        order = list(nx.lexicographical_topological_sort(graph, key=position.__getitem__))
    except nx.NetworkXUnfeasible as error:
        raise GraphError("a computational graph has no cycles, this networkx graph has one") from error
    new = {node: i for i, node in enumerate(order)}
    without = [node for node in order if "op" not in graph.nodes[node]]
    if without:
        raise GraphError(f"every node of the networkx graph needs the attribute 'op' ({without[0]!r} has none)")
    nodes = [graph.nodes[node] for node in order]
    inputs = graph.graph.get("inputs") or [node for node in order if graph.in_degree(node) == 0]
    outputs = graph.graph.get("outputs") or [node for node in order if graph.out_degree(node) == 0]
    return dict(
        name=graph.graph.get("name") or "",
        vocabulary=graph.graph.get("vocabulary"),
        ops=tuple(node["op"] for node in nodes),
        names=tuple(node.get("name", "") for node in nodes),
        param_names=tuple(tuple(node.get("param_names", ())) for node in nodes),
        param_shapes=tuple(tuple(node.get("param_shapes", ())) for node in nodes),
        out_shapes=tuple(tuple(node.get("out_shape", ())) for node in nodes),
        attributes=tuple(dict(node.get("attributes", {})) for node in nodes),
        flops=tuple(node.get("flops", 0) for node in nodes),
        edge_index=make_edge_index((new[source], new[target]) for source, target in graph.edges),
        inputs=tuple(new[node] for node in inputs),
        outputs=tuple(new[node] for node in outputs),
        unreached=tuple(graph.graph.get("unreached", ())),
        tied=tuple(graph.graph.get("tied", ())),
    )
