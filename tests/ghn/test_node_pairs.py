"""Degrees, distances and the layout of padded blocks."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ppuda_like.ghn import NodePairs
from ppuda_like.ghn._node_pairs import CUTOFF, PADDING, _groups
from ppuda_like.graph import ComputationalGraph, make_edge_index
from ppuda_like.testing import random_graphs
from tests.ghn.oracles import path_lengths

Batch = list[ComputationalGraph]


def graph_of(edges: list[tuple[int, int]], num_nodes: int, inputs: tuple[int, ...] = (0,)) -> ComputationalGraph:
    return ComputationalGraph(
        ops=tuple("input" if node in inputs else "conv" for node in range(num_nodes)),
        edge_index=make_edge_index(edges),
        inputs=inputs,
        outputs=(num_nodes - 1,),
        vocabulary="ppuda",
    )


def relations(pairs: NodePairs, batch: Batch) -> list[Tensor]:
    """Signed distances between the nodes of each graph, looked up from the rows of its nodes."""
    where = {}
    for block in pairs.blocks:
        for rows, relation in zip(block.rows.tolist(), block.relation.long() - CUTOFF, strict=True):
            where[rows[0]] = relation
    firsts = [sum(graph.num_nodes for graph in batch[:number]) for number in range(len(batch))]
    return [where[first][: graph.num_nodes, : graph.num_nodes] for first, graph in zip(firsts, batch, strict=True)]


@settings(deadline=None, max_examples=25)
@given(st.lists(random_graphs(max_nodes=12), min_size=1, max_size=4), st.booleans())
def test_relations_are_shortest_paths_there_or_back(batch: Batch, virtual: bool) -> None:
    pairs = NodePairs.build(batch, virtual=virtual)
    for graph, found in zip(batch, relations(pairs, batch), strict=True):
        lengths = path_lengths(graph, CUTOFF if virtual else 1)
        assert torch.equal(found, lengths - lengths.t())


@settings(deadline=None, max_examples=25)
@given(st.lists(random_graphs(max_nodes=12), min_size=1, max_size=4))
def test_degrees_and_distances_from_the_input_are_those_of_each_node(batch: Batch) -> None:
    pairs = NodePairs.build(batch, virtual=True)
    degree, distance = [], []
    for graph in batch:
        lengths = path_lengths(graph)
        degree.append(torch.stack(((lengths == 1).sum(0), (lengths == 1).sum(1))))
        distance.append(lengths[0])
    assert torch.equal(pairs.degree, torch.cat(degree, dim=1))
    assert torch.equal(pairs.input_distance, torch.cat(distance))


@settings(deadline=None, max_examples=25)
@given(st.lists(random_graphs(max_nodes=12), min_size=1, max_size=5))
def test_places_lead_back_to_the_rows(batch: Batch) -> None:
    pairs = NodePairs.build(batch, virtual=True)
    rows = torch.cat([block.rows.flatten() for block in pairs.blocks])
    assert torch.equal(rows[pairs.place], torch.arange(pairs.num_nodes))
    padded = torch.ones_like(rows, dtype=torch.bool)
    padded[pairs.place] = False
    columns = torch.cat([(block.relation[:, 0] == PADDING).flatten() for block in pairs.blocks])
    assert torch.equal(columns, padded)


def test_far_nodes_are_unrelated_and_have_no_distance() -> None:
    graph = graph_of([(i, i + 1) for i in range(54)], 55)
    pairs = NodePairs.build([graph], virtual=True)
    relation = pairs.blocks[0].relation[0].long() - CUTOFF
    assert relation[0, 48:53].tolist() == [48, 49, 50, 0, 0]
    assert relation[48:53, 0].tolist() == [-48, -49, -50, 0, 0]
    assert pairs.input_distance[48:53].tolist() == [48, 49, 50, 0, 0]


def test_degrees_end_at_a_hundred() -> None:
    star = graph_of([(0, i) for i in range(1, 121)] + [(i, 121) for i in range(1, 121)], 122)
    degree = NodePairs.build([star], virtual=False).degree
    assert degree[:, [0, 1, 121]].tolist() == [[0, 1, 100], [100, 1, 0]]


def test_distance_is_from_the_nearest_input_wherever_it_stands() -> None:
    # 0 is a parameter's node that no input reaches, 1 and 3 are inputs.
    graph = graph_of([(0, 2), (1, 2), (2, 4), (3, 4), (4, 5)], 6, inputs=(1, 3))
    assert NodePairs.build([graph], virtual=True).input_distance.tolist() == [0, 0, 1, 0, 1, 2]


@given(st.lists(st.integers(1, 2000), min_size=1, max_size=12))
def test_groups_hold_every_graph_once_with_bounded_padding(sizes: list[int]) -> None:
    groups = _groups(sizes)
    assert sorted(number for group in groups for number in group) == list(range(len(sizes)))
    for group in groups:
        padded = len(group) * max(sizes[number] for number in group) ** 2
        assert padded <= 1.25 * sum(sizes[number] ** 2 for number in group)
        assert len(group) == 1 or padded <= 1 << 20


@pytest.mark.parametrize(("sizes", "groups"), [([100] * 8, 1), ([1000] * 3, 3), ([100, 99, 10, 11, 98], 2)])
def test_graphs_of_like_size_share_a_group(sizes: list[int], groups: int) -> None:
    assert len(_groups(sizes)) == groups
