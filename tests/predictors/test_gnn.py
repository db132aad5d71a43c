from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from ppuda_like.errors import PpudaLikeError
from ppuda_like.graph import ComputationalGraph
from ppuda_like.predictors._gnn import GraphNetwork, GraphNetworkConfig
from ppuda_like.predictors._gnn_data import Encoder
from ppuda_like.predictors._gnn_layers import GatedSum, NodeAttention, initialize, neighbour_sum
from ppuda_like.testing import random_graphs, topological_orders
from tests.predictors.gnn_cases import chain, chains, encoded, network, reordered

FORMS = [
    pytest.param({}, None, id="gin"),
    pytest.param({}, 5, id="virtual"),
    pytest.param({"backbone": "gated"}, None, id="gated"),
    pytest.param({"backbone": "gps"}, None, id="gps"),
]


@pytest.mark.parametrize(("changes", "cutoff"), FORMS)
def test_the_order_of_nodes_does_not_count(changes: dict[str, Any], cutoff: int | None) -> None:
    @settings(max_examples=10, deadline=None)
    @given(st.data())
    def check(data: st.DataObject) -> None:
        graph = data.draw(random_graphs())
        order = data.draw(topological_orders(graph))
        encoder = Encoder.fit([graph], virtual_cutoff=cutoff)
        net = network(encoder, **changes)
        both = encoded([graph, reordered(graph, order)], encoder)
        with torch.no_grad():
            found = net(both.batch([0, 1]))
        torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-5)

    check()


@pytest.mark.parametrize(("changes", "cutoff"), FORMS)
def test_a_graph_alone_and_in_a_batch(changes: dict[str, Any], cutoff: int | None) -> None:
    graphs = chains(7)
    encoder = Encoder.fit(graphs, virtual_cutoff=cutoff)
    net, all_of_them = network(encoder, **changes), encoded(graphs, encoder)
    with torch.no_grad():
        together = net(all_of_them.batch(range(7)))
        alone = torch.cat([net(all_of_them.batch([i])) for i in range(7)])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    assert len(together[:, 0].unique()) > 3


@pytest.mark.parametrize(("changes", "cutoff"), FORMS)
def test_members_are_networks_of_their_own(changes: dict[str, Any], cutoff: int | None) -> None:
    graphs = chains(5)
    encoder = Encoder.fit(graphs, virtual_cutoff=cutoff)
    several, data = network(encoder, members=3, **changes), encoded(graphs, encoder).batch(range(5))
    with torch.no_grad():
        together = several(data)
        for member in range(3):
            single = network(encoder, members=1, **changes)
            single.load_state_dict({name: value[member : member + 1] for name, value in several.state_dict().items()})
            torch.testing.assert_close(single(data)[:, 0], together[:, member], rtol=1e-4, atol=1e-5)
    assert (together[:, 0] - together[:, 1]).abs().min() > 1e-4


def test_before_and_after_are_told_apart() -> None:
    graphs = [chain("input", "a", "b", "x", "c"), chain("input", "a", "c", "x", "b")]
    encoder = Encoder.fit(graphs)
    with torch.no_grad():
        found = network(encoder)(encoded(graphs, encoder).batch([0, 1]))
    assert (found[0] - found[1]).abs().min() > 1e-3


@given(random_graphs(max_nodes=8))
@settings(max_examples=10, deadline=None)
def test_sums_and_their_gradients(graph: ComputationalGraph) -> None:
    encoder = Encoder.fit([graph])
    ((matrix, transposed),) = encoded([graph], encoder).batch([0]).matrices
    x = torch.randn(graph.num_nodes, 2, 3, generator=torch.Generator().manual_seed(0), requires_grad=True)
    weight = torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    found = neighbour_sum(x, matrix, transposed)
    wanted = torch.einsum("vu,ued->ved", matrix.to_dense(), x)
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(
        torch.autograd.grad((found * weight).sum(), x), torch.autograd.grad((wanted * weight).sum(), x)
    )


def test_gated_sums_one_edge_at_a_time() -> None:
    layer = GatedSum(2, 3)
    initialize(layer, torch.Generator().manual_seed(0))
    x = torch.randn(4, 2, 3, generator=torch.Generator().manual_seed(1))
    edges = torch.tensor([[0, 0, 1, 2], [1, 2, 3, 3]])
    with torch.no_grad():
        own, other, value = layer.linear(x).chunk(3, dim=-1)
        wanted = torch.zeros_like(x)
        for u, v in edges.t().tolist():
            wanted[v] += torch.sigmoid(own[v] + other[u]) * value[u]
        torch.testing.assert_close(layer(x, edges), wanted)


def test_attention_one_graph_and_head_at_a_time() -> None:
    graphs = chains(4)
    batch = encoded(graphs, Encoder.fit(graphs)).batch(range(4))
    layer = NodeAttention(2, 8, 4)
    initialize(layer, torch.Generator().manual_seed(0))
    x = torch.randn(len(batch.op), 2, 8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        parts = layer.project(x).chunk(3, dim=-1)
        heads = torch.zeros_like(x)
        for number in range(4):
            nodes = (batch.graph == number).nonzero()[:, 0]
            for member in range(2):
                for head in range(4):
                    columns = slice(2 * head, 2 * head + 2)
                    query, key, value = (part[nodes, member, columns] for part in parts)
                    heads[nodes, member, columns] = F.softmax(query @ key.t() / 2**0.5, dim=-1) @ value
        torch.testing.assert_close(layer(x, batch), layer.out(heads))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden": 0}, "'hidden'"),
        ({"members": 1.5}, "'members'"),
        ({"backbone": "gcn"}, "'backbone' must be one of gin, gated, gps"),
        ({"dropout": 1.0}, "'dropout'"),
        ({"backbone": "gps", "hidden": 6}, "multiple of 4"),
        ({"nodes_per_graph": 0.0}, "'nodes_per_graph'"),
    ],
)
def test_sizes_out_of_range(changes: dict[str, Any], message: str) -> None:
    sizes: dict[str, Any] = {"num_ops": 2, "num_features": 3, "num_facts": 1, "members": 1}
    with pytest.raises(PpudaLikeError, match=message):
        GraphNetworkConfig(**{**sizes, **changes})


def test_every_weight_learns() -> None:
    graphs = chains(6)
    encoder = Encoder.fit(graphs, virtual_cutoff=3)
    for backbone in ("gin", "gated", "gps"):
        net: GraphNetwork = network(encoder, backbone=backbone)
        net(encoded(graphs, encoder).batch(range(6))).square().sum().backward()
        for name, parameter in net.named_parameters():
            assert parameter.grad is not None, name
            assert all(bool(grad.any()) for grad in parameter.grad), name
