import json

import pytest
import torch
from hypothesis import given
from torch_geometric.data import Batch

from ppuda_like.errors import GraphError
from ppuda_like.graph import PPUDA, ComputationalGraph, make_edge_index
from ppuda_like.testing import random_graphs


def chain(**changes: object) -> ComputationalGraph:
    fields: dict[str, object] = {
        "ops": ("input", "conv", "bias"),
        "names": ("input", "fc.weight", "fc.bias"),
        "edge_index": torch.tensor([[0, 1], [1, 2]]),
        "inputs": (0,),
        "outputs": (2,),
        "param_names": ((), ("fc.weight",), ("fc.bias",)),
        "param_shapes": ((), ((10, 4),), ((10,),)),
        "out_shapes": ((1, 4), (1, 10), (1, 10)),
        "flops": (0, 80, 0),
        "vocabulary": "ppuda",
        "name": "chain",
    }
    return ComputationalGraph(**{**fields, **changes})  # type: ignore[arg-type]


def test_facts() -> None:
    graph = chain()
    assert (graph.num_nodes, graph.num_edges, graph.num_params, graph.macs) == (3, 2, 50, 40)
    assert graph.params == {"fc.weight": (10, 4), "fc.bias": (10,)}
    assert graph.predecessors() == [[], [0], [1]]
    assert graph.successors() == [[1], [2], []]
    assert repr(graph) == "ComputationalGraph(chain, ppuda, num_nodes=3, num_edges=2, params=2 (50), macs=40)"


def test_shared_parameter_counts_once() -> None:
    graph = chain(param_names=((), ("w",), ("w",)), param_shapes=((), ((10, 4),), ((10, 4),)))
    assert graph.num_params == 40


def test_edges_are_ordered_by_target_then_source() -> None:
    shuffled = chain(ops=("input", "conv", "sum"), edge_index=torch.tensor([[1, 0, 0], [2, 2, 1]]))
    assert shuffled.edge_index.tolist() == [[0, 0, 1], [1, 2, 2]]
    assert make_edge_index([(1, 2), (0, 2), (0, 1), (0, 2)]).tolist() == [[0, 0, 1], [1, 2, 2]]
    assert make_edge_index([]).shape == (2, 0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"edge_index": torch.tensor([[1], [1]])}, "point forward"),
        ({"edge_index": torch.tensor([[2], [1]])}, "point forward"),
        ({"edge_index": torch.tensor([[0], [3]])}, "node ids 0..2 \\(got 0..3\\)"),
        ({"edge_index": torch.tensor([[-1], [1]])}, "node ids"),
        ({"edge_index": torch.tensor([[0, 0], [1, 1]])}, "every edge once"),
        ({"edge_index": torch.zeros(2, 1)}, "long tensor of shape"),
        ({"edge_index": torch.zeros(3, 1, dtype=torch.long)}, "long tensor of shape"),
        ({"names": ("a",)}, "'names' must have one entry per node: 3 \\(got 1\\)"),
        ({"outputs": (3,)}, "'outputs' must name nodes"),
        ({"inputs": ()}, "'inputs' must name nodes"),
        ({"param_shapes": ((), (), ())}, "1 parameters but 0 shapes"),
    ],
)
def test_invalid_graphs_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(GraphError, match=message):
        chain(**changes)


@given(random_graphs())
def test_json_round_trip(graph: ComputationalGraph) -> None:
    again = ComputationalGraph.from_json(graph.to_json())
    assert again == graph
    assert hash(again) == hash(graph)
    assert again.to_json() == graph.to_json()


@given(random_graphs())
def test_networkx_round_trip(graph: ComputationalGraph) -> None:
    assert ComputationalGraph.from_networkx(graph.to_networkx()) == graph


def test_equality_sees_every_field() -> None:
    graph = chain()
    assert graph == chain()
    for changes in (
        {"name": "other"},
        {"ops": ("input", "conv", "bn")},
        {"flops": (0, 80, 1)},
        {"unreached": ("w",)},
        {"edge_index": torch.tensor([[0, 0], [1, 2]])},
        {"vocabulary": "extended"},
        {"attributes": ({}, {"groups": 2}, {})},
    ):
        assert chain(**changes) != graph
    assert graph != "chain"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not json", "not JSON"),
        ("[]", 'JSON object with "format": 1'),
        ('{"format": 99}', "got 99"),
        ('{"format": 1}', "lacks the field"),
        (json.dumps({**json.loads(chain().to_json()), "edges": [["a", "b"]]}), "wrong form"),
        (json.dumps({**json.loads(chain().to_json()), "edges": [[2, 1]]}), "point forward"),
    ],
)
def test_foreign_json_is_refused(text: str, message: str) -> None:
    with pytest.raises(GraphError, match=message):
        ComputationalGraph.from_json(text)


def test_networkx_in_any_order_is_sorted() -> None:
    import networkx as nx

    graph = nx.DiGraph([("b", "c"), ("a", "b")])
    nx.set_node_attributes(graph, {"a": "input", "b": "conv", "c": "bias"}, "op")
    assert ComputationalGraph.from_networkx(graph).ops == ("input", "conv", "bias")
    graph.add_edge("c", "a")
    with pytest.raises(GraphError, match="cycle"):
        ComputationalGraph.from_networkx(graph)
    with pytest.raises(GraphError, match="needs the attribute 'op' \\('x' has none\\)"):
        ComputationalGraph.from_networkx(nx.DiGraph([("x", "y")]))


@given(random_graphs(), random_graphs())
def test_batching_shifts_edges_only(first: ComputationalGraph, second: ComputationalGraph) -> None:
    batch = Batch.from_data_list([first.to_data(), second.to_data()])
    assert batch.num_nodes == first.num_nodes + second.num_nodes
    assert torch.equal(batch.edge_index[:, first.num_edges :], second.edge_index + first.num_nodes)
    assert [PPUDA.primitives[i] for i in batch.x.flatten().tolist()] == [*first.ops, *second.ops]
    assert torch.equal(batch.get_example(1).edge_index, second.edge_index)


def test_shape_features() -> None:
    graph = ComputationalGraph(
        ops=("input", "conv", "conv", "pos_enc", "bn", "max_pool", "conv"),
        edge_index=torch.zeros(2, 0, dtype=torch.long),
        inputs=(0,),
        outputs=(6,),
        param_names=((), ("a",), ("b",), ("c",), ("d", "e"), (), ("f",)),
        param_shapes=((), ((8, 3, 5, 7),), ((10, 4),), ((1, 197, 768),), ((6,), (6,)), (), ((5, 6, 7),)),
        attributes=({}, {}, {}, {}, {}, {"kernel_size": [3, 2]}, {}),
        vocabulary="ppuda",
    )
    assert graph.node_shapes() == [
        (0, 0, 0, 0),
        (8, 3, 5, 7),
        (10, 4, 1, 1),
        (1, 768, 14, 14),
        (6, 1, 1, 1),
        (1, 1, 3, 2),
        (5, 6, 7, 1),
    ]


def test_summary_shows_every_node_or_leaves_out_the_middle() -> None:
    graph = chain(unreached=("spare",))
    text = graph.summary()
    assert [line.split()[1] for line in text.splitlines()[3:6]] == ["input", "conv", "bias"]
    assert text.endswith("unreached by forward: spare")
    assert "... 1 more ..." in graph.summary(max_rows=2)
