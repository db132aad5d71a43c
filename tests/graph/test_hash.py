from collections import Counter
from collections.abc import Hashable
from dataclasses import replace
from itertools import combinations
from typing import Any

import networkx as nx
import numpy as np
import pytest
import torch
from hypothesis import event, given, settings
from hypothesis import strategies as st

from ppuda_like.deepnets import network_graph, sample_network
from ppuda_like.graph import ComputationalGraph, make_edge_index, structure_hash
from ppuda_like.graph import _hash as module
from ppuda_like.testing import dags, permuted, random_graphs, topological_orders

Edge = tuple[int, int]


def labelled(ops: str, edges: list[Edge], inputs: tuple[int, ...] = (), **fields: Any) -> ComputationalGraph:
    """A graph with a letter per node; nodes are inputs and outputs alike where none are given."""
    every = tuple(range(len(ops)))
    return ComputationalGraph(
        ops=tuple(ops), edge_index=make_edge_index(edges), inputs=inputs or every, outputs=inputs or every, **fields
    )


def edges_of(graph: ComputationalGraph) -> list[Edge]:
    return [(source, target) for source, target in graph.edge_index.t().tolist()]


def label(graph: ComputationalGraph, node: int) -> Hashable:
    return graph.ops[node], node in graph.inputs, node in graph.outputs


def as_networkx(graph: ComputationalGraph) -> nx.DiGraph:
    drawn = nx.DiGraph(edges_of(graph))
    drawn.add_nodes_from((node, {"label": label(graph, node)}) for node in range(graph.num_nodes))
    return drawn


def isomorphic(a: ComputationalGraph, b: ComputationalGraph) -> bool:
    return bool(nx.is_isomorphic(as_networkx(a), as_networkx(b), lambda x, y: x["label"] == y["label"]))


def same_colours(a: ComputationalGraph, b: ComputationalGraph) -> bool:
    """Whether directed colour refinement of both graphs at once leaves them alike, by its definition."""
    around = [(graph.predecessors(), graph.successors()) for graph in (a, b)]
    colours: list[list[Any]] = [[label(graph, node) for node in range(graph.num_nodes)] for graph in (a, b)]
    for _ in range(a.num_nodes + b.num_nodes):
        table: dict[Hashable, int] = {}
        colours = [
            [
                table.setdefault((own, tuple(sorted(old[x] for x in p)), tuple(sorted(old[x] for x in s))), len(table))
                for own, p, s in zip(old, *sides, strict=True)
            ]
            for old, sides in zip(colours, around, strict=True)
        ]
    return Counter(colours[0]) == Counter(colours[1])


@st.composite
def small_graphs(draw: st.DrawFn, nodes: int | None = None) -> ComputationalGraph:
    edge_index, num_nodes = draw(dags(nodes or 1, nodes or 6, density=1.0))
    ops = "".join(draw(st.lists(st.sampled_from("aab"), min_size=num_nodes, max_size=num_nodes)))
    some = draw(st.just(()) | st.tuples(st.integers(0, num_nodes - 1)))
    return labelled(ops, [(source, target) for source, target in edge_index.t().tolist()], some)


@st.composite
def pairs_of_graphs(draw: st.DrawFn) -> tuple[ComputationalGraph, ComputationalGraph]:
    """A graph and another one: of as many nodes, with one edge elsewhere, or with its nodes in another order."""
    a = draw(small_graphs())
    n, edges = a.num_nodes, edges_of(a)
    kind = draw(st.sampled_from(["other", "edge", "order"]))
    if kind == "other":
        return a, draw(small_graphs(n))
    missing = [pair for pair in combinations(range(n), 2) if pair not in edges]
    if kind == "edge" and edges and missing:
        edges[draw(st.integers(0, len(edges) - 1))] = draw(st.sampled_from(missing))
    b = replace(a, edge_index=make_edge_index(edges))
    return a, permuted(b, draw(topological_orders(b)))


def test_values_stay() -> None:
    # Stores keep these numbers: a change here makes new hashes differ from stored ones.
    graph = ComputationalGraph(
        ops=("input", "conv", "max_pool", "sum"),
        edge_index=make_edge_index([(0, 1), (1, 2), (1, 3), (2, 3)]),
        inputs=(0,),
        outputs=(3,),
        param_names=((), ("weight",), (), ()),
        param_shapes=((), ((8, 3, 3, 3),), (), ()),
        attributes=({}, {}, {"kernel_size": [3, 3]}, {}),
    )
    assert structure_hash(graph) == 0xE16E6F6C38225DF3
    assert structure_hash(labelled("a", [])) == 0xEA2695026589B39F


@settings(deadline=None)
@given(random_graphs(), st.data())
def test_neither_order_nor_names_count(graph: ComputationalGraph, data: st.DataObject) -> None:
    other = permuted(graph, data.draw(topological_orders(graph)))
    other = replace(
        other,
        names=tuple(f"renamed{node}" for node in range(graph.num_nodes)),
        param_names=tuple(tuple(f"other.{path}" for path in paths) for paths in other.param_names),
        name="other",
        vocabulary=None,
    )
    value = structure_hash(graph)
    assert structure_hash(other) == value
    assert type(value) is int
    assert 0 <= value < 1 << 64


@settings(deadline=None)
@given(random_graphs(), st.data())
def test_every_change_counts(graph: ComputationalGraph, data: st.DataObject) -> None:
    node = data.draw(st.integers(0, graph.num_nodes - 1), "node")
    edge = data.draw(st.sampled_from(list(combinations(range(graph.num_nodes), 2))), "edge")

    def at_node(values: tuple[Any, ...], value: Any) -> tuple[Any, ...]:
        return (*values[:node], value, *values[node + 1 :])

    shapes = graph.param_shapes[node]
    changes: dict[str, dict[str, Any]] = {
        "operation": {"ops": at_node(graph.ops, "another")},
        "attribute": {"attributes": at_node(graph.attributes, {**graph.attributes[node], "groups": 2})},
        "edge": {"edge_index": make_edge_index({*edges_of(graph)} ^ {edge})},
        "parameter": {
            "param_names": at_node(graph.param_names, ("more", *graph.param_names[node])),
            "param_shapes": at_node(graph.param_shapes, ((7, 7), *shapes)),
        },
        "input": {"inputs": tuple({*graph.inputs} ^ {node}) or (graph.num_nodes - 1,)},
        "output": {"outputs": tuple({*graph.outputs} ^ {node}) or (0,)},
    }
    if shapes:
        changes["shape"] = {"param_shapes": at_node(graph.param_shapes, ((*shapes[0][:-1], 11), *shapes[1:]))}
    hashes = {kind: structure_hash(replace(graph, **change)) for kind, change in changes.items()}
    assert structure_hash(graph) not in hashes.values()
    assert len(set(hashes.values())) == len(hashes)


@pytest.mark.parametrize(("num_nodes", "num_graphs"), [(1, 1), (2, 2), (3, 6), (4, 31), (5, 302)])
def test_tells_all_small_graphs_apart(num_nodes: int, num_graphs: int) -> None:
    # The numbers of acyclic graphs up to isomorphism: https://oeis.org/A003087
    pairs = list(combinations(range(num_nodes), 2))
    found = {
        structure_hash(labelled("a" * num_nodes, [pair for i, pair in enumerate(pairs) if chosen >> i & 1]))
        for chosen in range(1 << len(pairs))
    }
    assert len(found) == num_graphs


@settings(deadline=None)
@given(pairs_of_graphs())
def test_as_fine_as_colour_refinement(pair: tuple[ComputationalGraph, ComputationalGraph]) -> None:
    a, b = pair
    equal = structure_hash(a) == structure_hash(b)
    event(f"equal: {equal}")
    assert equal == same_colours(a, b)
    if isomorphic(a, b):
        assert equal


def test_what_colour_refinement_cannot_tell() -> None:
    triangles = labelled("aaaaaa", [(0, 1), (1, 2), (0, 2), (3, 4), (4, 5), (3, 5)])
    hexagon = labelled("aaaaaa", [(0, 2), (2, 4), (0, 5), (1, 3), (3, 5), (1, 4)])
    assert not isomorphic(triangles, hexagon)
    assert same_colours(triangles, hexagon)
    assert structure_hash(triangles) == structure_hash(hexagon)


def test_refines_to_the_end() -> None:
    # Where the one other node of a chain stands is only seen from both ends, as many steps away as it takes.
    n = 60
    chain = [(i, i + 1) for i in range(n - 1)]
    ops = ["a" * place + "b" + "a" * (n - 1 - place) for place in range(n)]
    assert len({structure_hash(labelled(op, chain)) for op in ops}) == n
    # Two chains in one graph, alike but for the place of one node each, the same distance from the middle.
    double = [*chain, *((i + n, j + n) for i, j in chain)]
    both = {structure_hash(labelled(ops[place] + ops[n - 1 - place], double)) for place in range(n)}
    assert len(both) == n // 2


@pytest.mark.parametrize("shape", [torch.Size([17, 5]), (np.int64(17), np.int32(5))])
def test_kinds_of_sizes_do_not_count(shape: tuple[int, ...]) -> None:
    def value(shape: tuple[int, ...]) -> int:
        module._label.cache_clear()  # which takes equal tuples for one
        return structure_hash(labelled("a", [], param_names=(("w",),), param_shapes=((shape,),)))

    assert value(shape) == value((17, 5))


def test_keys_of_attributes_have_no_order() -> None:
    a, b = labelled("a", [], attributes=({"p": 1, "q": [2]},)), labelled("a", [], attributes=({"q": [2], "p": 1},))
    assert structure_hash(a) == structure_hash(b)


def test_networks() -> None:
    nets = [sample_network("train", index) for index in range(30)]
    nets += [net.replace(**change) for net in nets[:5] for change in ({"C": 64}, {"num_classes": 11}, {"n_cells": 20})]
    graphs = [network_graph(net) for net in nets]
    hashes = [structure_hash(graph) for graph in graphs]
    assert len(set(hashes)) == len(graphs)
    for graph, value in zip(graphs[:5], hashes[:5], strict=True):
        order = list(nx.lexicographical_topological_sort(as_networkx(graph), key=lambda node: -node))
        assert order != sorted(order)
        assert structure_hash(permuted(graph, order)) == value
