"""The fast GatedGNN is the one that visits nodes one at a time."""

from unittest import mock

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ppuda_like.errors import GraphError
from ppuda_like.ghn import GatedGNN, GraphEdges, VisitSchedule
from ppuda_like.ghn import _schedule as schedule_module
from ppuda_like.graph import make_edge_index
from ppuda_like.testing import dags, random_graphs, topological_orders
from tests.ghn.oracles import edges_of, visit_one_by_one

HID = 4
Dag = tuple[Tensor, int]


def gnn_of(virtual: bool, seed: int = 0) -> GatedGNN:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return GatedGNN(HID, virtual_edges=virtual).double()


def features(num_nodes: int, seed: int = 0) -> Tensor:
    return torch.randn(num_nodes, HID, dtype=torch.double, generator=torch.Generator().manual_seed(seed))


def small_blocks(levels: int, nodes: int) -> mock._patch_dict:
    return mock.patch.multiple(schedule_module, BLOCK_LEVELS=levels, BLOCK_NODES=nodes)  # type: ignore[return-value]


@settings(deadline=None, max_examples=60)
@given(
    batch=st.lists(dags(max_nodes=14, density=0.6), min_size=1, max_size=3),
    virtual=st.booleans(),
    cutoff=st.integers(1, 6),
    block=st.sampled_from([(1, 1), (2, 3), (3, 8), (32, 128)]),
)
def test_values_and_gradients_are_those_of_one_node_at_a_time(
    batch: list[Dag], virtual: bool, cutoff: int, block: tuple[int, int]
) -> None:
    gnn = gnn_of(virtual)
    graphs = [edges_of(*dag, virtual=virtual, cutoff=cutoff) for dag in batch]
    parts = [features(graph.num_nodes, seed).requires_grad_() for seed, graph in enumerate(graphs)]
    with small_blocks(*block):
        schedule = VisitSchedule.build(graphs, virtual=virtual)
        found = gnn(torch.cat(parts), schedule)
    expected = torch.cat(
        [visit_one_by_one(gnn, x, g.edge_index, g.distance) for x, g in zip(parts, graphs, strict=True)]
    )
    torch.testing.assert_close(found, expected)
    with torch.no_grad():
        torch.testing.assert_close(gnn(torch.cat(parts), schedule), expected)
    weights = features(len(found), seed=99)
    inputs = [*parts, *gnn.parameters()]
    got = torch.autograd.grad((found * weights).sum(), inputs, allow_unused=True)
    wanted = torch.autograd.grad((expected * weights).sum(), inputs, allow_unused=True)
    for name, a, b in zip(range(len(inputs)), got, wanted, strict=True):
        zeros = torch.zeros_like(inputs[name])
        torch.testing.assert_close(zeros if a is None else a, zeros if b is None else b)


def test_gradients_agree_with_finite_differences() -> None:
    dag = make_edge_index([(0, 1), (0, 2), (1, 3), (2, 3), (0, 4), (3, 5), (4, 5), (5, 6)])
    gnn, schedule = gnn_of(True), VisitSchedule.build([edges_of(dag, 7, virtual=True)], virtual=True)
    x = features(7).requires_grad_()
    names = list(dict(gnn.named_parameters()))

    def run(x: Tensor, *values: Tensor) -> Tensor:
        found: Tensor = torch.func.functional_call(gnn, dict(zip(names, values, strict=True)), (x, schedule))
        return found

    assert torch.autograd.gradcheck(run, (x, *gnn.parameters()), fast_mode=True)


@settings(deadline=None, max_examples=25)
@given(batch=st.lists(dags(max_nodes=12), min_size=2, max_size=4), virtual=st.booleans())
def test_a_batch_is_its_graphs_one_by_one(batch: list[Dag], virtual: bool) -> None:
    gnn = gnn_of(virtual)
    graphs = [edges_of(*dag, virtual=virtual) for dag in batch]
    parts = [features(graph.num_nodes, seed) for seed, graph in enumerate(graphs)]
    together = gnn(torch.cat(parts), VisitSchedule.build(graphs, virtual=virtual))
    alone = [gnn(x, VisitSchedule.build([graph], virtual=virtual)) for x, graph in zip(parts, graphs, strict=True)]
    torch.testing.assert_close(together, torch.cat(alone))


@settings(deadline=None, max_examples=25)
@given(data=st.data(), graph=random_graphs(max_nodes=14))
def test_the_order_of_nodes_does_not_matter(data: st.DataObject, graph: object) -> None:
    order = torch.tensor(data.draw(topological_orders(graph)))  # type: ignore[arg-type]
    edge_index: Tensor = graph.edge_index  # type: ignore[attr-defined]
    gnn, num_nodes = gnn_of(True), len(order)
    x = features(num_nodes)
    renumbered = order.argsort()[edge_index]
    here = gnn(x, VisitSchedule.build([edges_of(edge_index, num_nodes, virtual=True)], virtual=True))
    there = gnn(x[order], VisitSchedule.build([edges_of(renumbered, num_nodes, virtual=True)], virtual=True))
    torch.testing.assert_close(there, here[order])


def test_the_features_passed_in_are_left_as_they_are() -> None:
    schedule = VisitSchedule.build([edges_of(make_edge_index([(0, 1), (1, 2)]), 3, virtual=False)], virtual=False)
    x = features(3)
    before = x.clone()
    gnn_of(False)(x.requires_grad_(), schedule).sum().backward()
    with torch.no_grad():
        gnn_of(False)(x, schedule)
    assert torch.equal(x, before)


def test_low_precision_features_keep_their_dtype() -> None:
    schedule = VisitSchedule.build([edges_of(make_edge_index([(0, 1), (1, 2)]), 3, virtual=True)], virtual=True)
    exact = gnn_of(True)(features(3), schedule)
    rough = gnn_of(True).bfloat16()(features(3).bfloat16(), schedule)
    assert rough.dtype == torch.bfloat16
    torch.testing.assert_close(rough.double(), exact, atol=0.05, rtol=0.05)


def test_levels_of_a_batch_are_merged() -> None:
    diamond = edges_of(make_edge_index([(0, 1), (0, 2), (1, 3), (2, 3)]), 4, virtual=True)
    chain = edges_of(make_edge_index([(0, 1), (1, 2), (2, 3), (3, 4)]), 5, virtual=True)
    schedule = VisitSchedule.build([diamond, chain], virtual=True)
    assert schedule.level_sizes == (2, 3, 2, 1, 1)
    assert torch.equal(schedule.order[schedule.rank.long()], torch.arange(9))


@given(sizes=st.lists(st.integers(1, 40), min_size=1, max_size=80))
def test_blocks_cover_the_levels_and_stay_small(sizes: list[int]) -> None:
    blocks = schedule_module._blocks(sizes)
    assert [level for first, last in blocks for level in range(first, last)] == list(range(len(sizes)))
    for first, last in blocks:
        assert last - first == 1 or sum(sizes[first:last]) <= schedule_module.BLOCK_NODES
        assert last - first <= schedule_module.BLOCK_LEVELS


def test_memory_of_the_tables_is_linear_in_nodes_and_edges() -> None:
    def size(num_nodes: int) -> int:
        chain = edges_of(make_edge_index([(i, i + 1) for i in range(num_nodes - 1)]), num_nodes, virtual=True, cutoff=8)
        schedule = VisitSchedule.build([chain], virtual=True)
        tables = schedule.tables(backward=False, adjoint=False, dtype=torch.float32, device=torch.device("cpu"))
        return sum(t.nbytes for part in tables for t in part if t is not None)

    assert size(4096) < 2.2 * size(2048)


def test_a_schedule_of_other_graphs_is_refused() -> None:
    chain = edges_of(make_edge_index([(0, 1)]), 2, virtual=False)
    schedule = VisitSchedule.build([chain], virtual=False)
    with pytest.raises(GraphError, match=r"one row per node of the schedule: 2 \(got 3\)"):
        gnn_of(False)(features(3), schedule)
    with pytest.raises(GraphError, match=r"virtual=True \(got virtual=False\)"):
        gnn_of(True)(features(2), schedule)


def test_a_schedule_needs_graphs_with_edges_to_higher_levels() -> None:
    with pytest.raises(GraphError, match="at least one graph"):
        VisitSchedule.build([], virtual=True)
    flat = GraphEdges(2, torch.tensor([[0], [1]]), torch.ones(1, dtype=torch.long), torch.zeros(2, dtype=torch.long))
    with pytest.raises(GraphError, match="from a lower level to a higher one"):
        VisitSchedule.build([flat], virtual=False)
