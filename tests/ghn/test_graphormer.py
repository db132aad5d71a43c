"""The Graphormer that works on padded blocks and few relations is that of its description."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ppuda_like.errors import GraphError
from ppuda_like.ghn import Graphormer, NodePairs
from ppuda_like.ghn._node_pairs import PADDING
from ppuda_like.graph import ComputationalGraph, make_edge_index
from ppuda_like.testing import permuted, random_graphs, topological_orders
from tests.ghn.oracles import path_lengths, plain_edge_bias, plain_graphormer

HID = 8


def gnn_of(layers: int = 2) -> Graphormer:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Graphormer(HID, layers=layers, heads=2).double()


def features(graphs: list[ComputationalGraph]) -> Tensor:
    count = sum(graph.num_nodes for graph in graphs)
    return torch.randn(count, HID, dtype=torch.double, generator=torch.Generator().manual_seed(1))


def chain(num_nodes: int) -> ComputationalGraph:
    return ComputationalGraph(
        ops=("input", *["conv"] * (num_nodes - 1)),
        edge_index=make_edge_index((i, i + 1) for i in range(num_nodes - 1)),
        inputs=(0,),
        outputs=(num_nodes - 1,),
        vocabulary="ppuda",
    )


@settings(deadline=None, max_examples=25)
@given(st.lists(random_graphs(max_nodes=14), min_size=1, max_size=4), st.sampled_from([1.0, 1.25, 100.0]))
def test_features_and_gradients_are_those_of_the_description(graphs: list[ComputationalGraph], padded: float) -> None:
    gnn = gnn_of()
    x = features(graphs).requires_grad_()
    inputs = [x, *gnn.parameters()]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ppuda_like.ghn._node_pairs.MOST_PADDED", padded)
        found = gnn(x, NodePairs.build(graphs, virtual=True))
    parts = x.split([graph.num_nodes for graph in graphs])
    wanted = torch.cat([plain_graphormer(gnn, part, graph) for part, graph in zip(parts, graphs, strict=True)])
    torch.testing.assert_close(found, wanted)
    weight = features(graphs).flip(0)
    torch.testing.assert_close(
        torch.autograd.grad((found * weight).sum(), inputs), torch.autograd.grad((wanted * weight).sum(), inputs)
    )


def test_bias_is_that_of_each_pair_worked_out_by_itself() -> None:
    gnn, graph = gnn_of(), chain(60)
    (block,) = NodePairs.build([graph], virtual=True).blocks
    found = gnn.edge_bias()[:, block.relation[0].long()]
    torch.testing.assert_close(found, plain_edge_bias(gnn, path_lengths(graph)))
    assert len(found[0].unique()) == 101


def test_padding_has_the_last_bias() -> None:
    table = gnn_of().edge_bias()
    assert table.shape == (2, PADDING + 1)
    assert (table[:, -1] == -(2**15)).all()
    assert (table[:, :-1].abs() < 100).all()


def test_what_stands_in_padding_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ppuda_like.ghn._node_pairs.MOST_PADDED", 100.0)
    gnn, graphs = gnn_of(), [chain(3), chain(20)]
    x = features(graphs)
    pairs = NodePairs.build(graphs, virtual=True)
    (block,) = pairs.blocks
    short = block.relation[:, 0].eq(PADDING).any(dim=1).nonzero().item()
    before = gnn(x, pairs)
    block.rows[short, 3:] = 22
    torch.testing.assert_close(gnn(x, pairs), before, rtol=0, atol=0)


@settings(deadline=None, max_examples=25)
@given(st.data())
def test_renumbering_the_nodes_renumbers_the_result(data: st.DataObject) -> None:
    graph = data.draw(random_graphs(max_nodes=14))
    order = data.draw(topological_orders(graph))
    gnn, x = gnn_of(), features([graph])
    wanted = gnn(x, NodePairs.build([graph], virtual=True))[order]
    torch.testing.assert_close(gnn(x[order], NodePairs.build([permuted(graph, order)], virtual=True)), wanted)


def test_every_node_sees_every_node_in_one_layer() -> None:
    graph = chain(5)
    x = features([graph]).requires_grad_()
    found = gnn_of(layers=1)(x, NodePairs.build([graph], virtual=True))
    for node in range(5):
        (gradient,) = torch.autograd.grad(found[node].square().sum(), x, retain_graph=True)
        assert gradient.any(dim=1).all()


def test_distance_and_direction_matter() -> None:
    gnn, pairs = gnn_of(layers=1), NodePairs.build([chain(6)], virtual=True)
    same = torch.ones(6, HID, dtype=torch.double)
    found = gnn(same, pairs)
    assert not torch.isclose(found[0], found[5]).all()
    near = gnn(same, NodePairs.build([chain(6)], virtual=False))
    assert not torch.isclose(found[3], near[3]).all()


def test_x_is_left_as_it_was() -> None:
    graph = chain(4)
    x = features([graph])
    before = x.clone()
    gnn_of()(x, NodePairs.build([graph], virtual=True))
    assert torch.equal(x, before)


def test_pairs_of_other_graphs_are_refused() -> None:
    with pytest.raises(GraphError, match=r"one row per node of the pairs: 4 \(got 5\)"):
        gnn_of()(features([chain(5)]), NodePairs.build([chain(4)], virtual=True))
