import json
import lzma
from pathlib import Path
from random import Random

import networkx as nx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ppuda_like.errors import GraphError
from ppuda_like.graph import ComputationalGraph, all_pairs_distance, levels, make_edge_index, virtual_edges
from ppuda_like.graph import _distance as module
from ppuda_like.graph._distance import average_distance, longest_path_levels
from ppuda_like.testing import dags

FIXTURE = Path(__file__).parent.parent / "fixtures" / "golden_graphs.json.xz"


def as_networkx(edge_index: Tensor, num_nodes: int) -> nx.DiGraph:
    graph = nx.DiGraph()
    graph.add_nodes_from(range(num_nodes))
    graph.add_edges_from(edge_index.t().tolist())
    return graph


def shortest(graph: nx.DiGraph, cutoff: int | None = None) -> dict[tuple[int, int], int]:
    found = nx.all_pairs_shortest_path_length(graph, cutoff=cutoff)
    return {(u, v): length for u, lengths in found for v, length in lengths.items() if length}


def found_pairs(edge_index: Tensor, num_nodes: int, cutoff: int | None) -> dict[tuple[int, int], int]:
    pairs = all_pairs_distance(edge_index, num_nodes, cutoff)
    return {(u, v): s for (u, v), s in zip(pairs.edge_index.t().tolist(), pairs.distance.tolist(), strict=True)}


def test_residual_block() -> None:
    graph = ComputationalGraph(
        ops=("input", "conv", "bn", "sum"),
        edge_index=make_edge_index([(0, 1), (1, 2), (2, 3), (0, 3)]),
        inputs=(0,),
        outputs=(3,),
    )
    pairs = virtual_edges(graph)
    assert pairs.edge_index.tolist() == [[0, 0, 1, 0, 1, 2], [1, 2, 2, 3, 3, 3]]
    assert pairs.distance.tolist() == [1, 2, 1, 1, 2, 1]
    assert pairs.edge_index.dtype == pairs.distance.dtype == torch.long
    assert levels(graph).tolist() == [0, 1, 2, 3]


def test_cutoff_is_inclusive() -> None:
    chain = torch.tensor([[0, 1, 2, 3], [1, 2, 3, 4]])
    assert max(found_pairs(chain, 5, 3).values()) == 3
    assert len(found_pairs(chain, 5, 3)) == 9
    assert len(found_pairs(chain, 5, None)) == 10
    assert found_pairs(chain, 5, 1) == {(i, i + 1): 1 for i in range(4)}


@pytest.mark.parametrize("num_nodes", [0, 1, 3])
def test_no_edges(num_nodes: int) -> None:
    none = torch.zeros(2, 0, dtype=torch.long)
    pairs = all_pairs_distance(none, num_nodes)
    assert (pairs.edge_index.shape, pairs.distance.shape) == ((2, 0), (0,))
    assert longest_path_levels(none, num_nodes).tolist() == [0] * num_nodes
    assert average_distance(none, num_nodes) == 0.0


@settings(max_examples=60, deadline=None)
@given(dags(max_nodes=25), st.one_of(st.none(), st.integers(1, 30)))
def test_distances_agree_with_networkx(dag: tuple[Tensor, int], cutoff: int | None) -> None:
    edge_index, num_nodes = dag
    expected = shortest(as_networkx(edge_index, num_nodes), cutoff)
    pairs = all_pairs_distance(edge_index, num_nodes, cutoff)
    assert found_pairs(edge_index, num_nodes, cutoff) == expected
    assert list(zip(*pairs.edge_index.tolist(), strict=True)) == sorted(expected, key=lambda pair: (pair[1], pair[0]))


@settings(max_examples=60, deadline=None)
@given(dags(max_nodes=25))
def test_levels_agree_with_networkx(dag: tuple[Tensor, int]) -> None:
    graph = as_networkx(*dag)
    expected = {node: i for i, layer in enumerate(nx.topological_generations(graph)) for node in layer}
    assert dict(enumerate(longest_path_levels(*dag).tolist())) == expected


@settings(max_examples=60, deadline=None)
@given(dags(max_nodes=25))
def test_average_is_that_of_the_pairs(dag: tuple[Tensor, int]) -> None:
    lengths = shortest(as_networkx(*dag)).values()
    assert average_distance(*dag) == pytest.approx(sum(lengths) / max(1, len(lengths)))


@settings(max_examples=60, deadline=None)
@given(dags(max_nodes=12), st.randoms(use_true_random=False))
def test_order_of_edges_does_not_matter(dag: tuple[Tensor, int], random: Random) -> None:
    edge_index, num_nodes = dag
    shuffled = edge_index[:, random.sample(range(edge_index.size(1)), edge_index.size(1))]
    for ours, theirs in zip(
        all_pairs_distance(shuffled, num_nodes), all_pairs_distance(edge_index, num_nodes), strict=True
    ):
        assert torch.equal(ours, theirs)
    assert torch.equal(longest_path_levels(shuffled, num_nodes), longest_path_levels(edge_index, num_nodes))


@pytest.mark.parametrize("cutoff", [50, None])
def test_blocks_of_sources_make_no_difference(monkeypatch: pytest.MonkeyPatch, cutoff: int | None) -> None:
    generator = torch.Generator().manual_seed(0)
    target = torch.arange(1, 300)
    skip = (torch.rand(299, generator=generator) * target).long()
    edge_index = make_edge_index(
        [*zip((target - 1).tolist(), target.tolist(), strict=True), *zip(skip.tolist(), target.tolist(), strict=True)]
    )
    whole, average = all_pairs_distance(edge_index, 300, cutoff), average_distance(edge_index, 300)
    monkeypatch.setattr(module, "BLOCK_BYTES", 1)
    assert len(module._blocks(300)) == 5
    blocks = all_pairs_distance(edge_index, 300, cutoff)
    assert torch.equal(blocks.edge_index, whole.edge_index)
    assert torch.equal(blocks.distance, whole.distance)
    assert average_distance(edge_index, 300) == average


def test_counts_of_the_reference() -> None:
    golden = json.loads(lzma.decompress(FIXTURE.read_bytes()))["deepnets_test"]
    for net in golden:
        distance = all_pairs_distance(make_edge_index(map(tuple, net["edges"])), len(net["ops"])).distance
        assert int((distance > 1).sum()) == net["num_virtual"], net["index"]
        assert int(distance.max()) == min(50, net["max_distance"]), net["index"]


@pytest.mark.parametrize("function", [all_pairs_distance, longest_path_levels, average_distance])
def test_bad_edges_are_refused(function: object) -> None:
    assert callable(function)
    with pytest.raises(GraphError, match=r"must point forward \(source < target\); sort"):
        function(torch.tensor([[0, 2], [1, 1]]), 3)
    with pytest.raises(GraphError, match=r"must hold node ids 0\.\.2 \(got 0\.\.3\)"):
        function(torch.tensor([[0, 2], [1, 3]]), 3)
    with pytest.raises(GraphError, match=r"must have shape \(2, num_edges\) \(got \(3, 2\)\)"):
        function(torch.zeros(3, 2, dtype=torch.long), 3)


def test_bad_cutoff_is_refused() -> None:
    with pytest.raises(GraphError, match=r"'cutoff' must be at least 1, or None for no limit \(got 0\)"):
        all_pairs_distance(torch.tensor([[0], [1]]), 2, cutoff=0)
