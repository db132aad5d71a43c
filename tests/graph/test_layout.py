from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ppuda_like.graph import make_edge_index
from ppuda_like.graph._layout import Layout, layout
from ppuda_like.graph._tracks import tracks
from ppuda_like.testing import dags

BOX = (1.0, 0.5)


def chain(num_nodes: int) -> Tensor:
    return make_edge_index(pairwise(range(num_nodes)))


def place(edge_index: Tensor, num_nodes: int, *, vertical: bool = False, unfolded: float = 0.0) -> Layout:
    return layout(edge_index, num_nodes, (0,), box=BOX, gap=(0.4, 0.3), head=0.1, vertical=vertical, unfolded=unfolded)


def test_spine_is_straight_and_skips_run_beside_it() -> None:
    edge_index = make_edge_index([(0, 1), (1, 2), (2, 3), (0, 3)])
    found = tracks(edge_index, 4, (0,))
    assert (found.first, found.last) == ([0, 1, 2, 3, 1], [0, 1, 2, 3, 2])
    assert found.slot == [0, 0, 0, 0, 1]
    assert sorted(found.joints) == [(0, 1), (0, 4), (1, 2), (2, 3), (4, 3)]


def test_long_edges_of_a_node_share_a_lane() -> None:
    edge_index = make_edge_index([*pairwise(range(6)), (0, 3), (0, 5)])
    found = tracks(edge_index, 6, (0,))
    assert len(found.first) == 7
    assert (found.first[6], found.last[6]) == (1, 4)
    assert {(6, 3), (6, 5)} <= set(found.joints)


def test_sources_besides_the_input_stand_where_they_are_used() -> None:
    edge_index = make_edge_index([(0, 1), (1, 2), (2, 4), (3, 4)])
    assert tracks(edge_index, 5, (0,)).first == [0, 1, 2, 2, 3]


def test_unfolded_chain() -> None:
    found = place(chain(4), 4, unfolded=10.0)
    assert found.rows == 1
    np.testing.assert_allclose(found.centers, [(0, 0), (1.4, 0), (2.8, 0), (4.2, 0)])
    np.testing.assert_allclose(found.tips, [(0.9, 0), (2.3, 0), (3.7, 0)])
    np.testing.assert_allclose((found.low, found.high), [(-0.5, -0.25), (4.7, 0.25)])


def test_vertical_chain_goes_down() -> None:
    found = place(chain(3), 3, vertical=True, unfolded=10.0)
    np.testing.assert_allclose(found.centers, [(0, 0), (0, -0.9), (0, -1.8)], atol=1e-12)
    np.testing.assert_allclose(found.flow, [(0, -1), (0, -1)], atol=1e-12)
    np.testing.assert_allclose((found.low, found.high), [(-0.5, -2.05), (0.5, 0.25)])


@pytest.mark.parametrize("vertical", [False, True])
@pytest.mark.parametrize("num_nodes", [60, 300, 1000])
def test_deep_graphs_fold_to_the_aspect(num_nodes: int, vertical: bool) -> None:
    found = place(chain(num_nodes), num_nodes, vertical=vertical)
    width, height = found.high - found.low
    assert found.rows > 1
    assert 1.0 < width / height < 2.2
    turned = (found.flow[1:] * found.flow[:-1]).sum(axis=1) < 0
    assert turned.sum() == found.rows - 1


def test_folds_where_least_is_cut() -> None:
    blocks = [(start, start + 7) for start in range(0, 140, 7)]  # residual blocks of seven steps
    edge_index = make_edge_index([*pairwise(range(141)), *blocks])
    found = place(edge_index, 141)
    turns = np.flatnonzero((found.flow[1:] * found.flow[:-1]).sum(axis=1) < 0)
    assert found.rows > 2
    assert len(turns) >= found.rows - 1
    crossing = sum(1 for a, b in blocks if len({*np.round(found.centers[a : b + 1, 1], 6)}) > 1)
    assert crossing < len(blocks) / 2


@settings(max_examples=40, deadline=None)
@given(dags(max_nodes=30, density=0.3), st.booleans(), st.sampled_from([0.0, 100.0]))
def test_boxes_never_overlap_and_edges_are_unbroken(dag: tuple[Tensor, int], vertical: bool, unfolded: float) -> None:
    edge_index, num_nodes = dag
    found = place(edge_index, num_nodes, vertical=vertical, unfolded=unfolded)
    apart = np.abs(found.centers[:, None] - found.centers[None])
    overlap = (apart < np.array(BOX) - 1e-9).all(axis=-1) & ~np.eye(num_nodes, dtype=bool)
    assert not overlap.any()
    corners = np.concatenate((found.centers, found.curves[:, 0], found.curves[:, 3]))
    assert (corners >= found.low - 1e-9).all()
    assert (corners <= found.high + 1e-9).all()

    # Follow the curves from each node's side to the arrowheads they lead to.
    def key(point: np.ndarray) -> tuple[float, float]:
        return (round(float(point[0]), 6), round(float(point[1]), 6))

    leads: dict[tuple[float, float], set[tuple[float, float]]] = {}
    starts = found.curves[:, 0]
    for curve in found.curves:
        begin, end = curve[0], curve[3]
        leads.setdefault(key(begin), set()).add(key(end))
        # A straight line serves all long edges of a node: others leave it on the way.
        there, reach = starts - begin, end - begin
        beside = np.abs(there[:, 0] * reach[1] - there[:, 1] * reach[0]) > 1e-9
        share = there @ reach / max(float(reach @ reach), 1e-12)
        if (begin == end).any():
            leads[key(begin)] |= {key(start) for start in starts[~beside & (share > 0) & (share < 1)]}
    along = np.array((0.0, BOX[1] / 2) if vertical else (BOX[0] / 2, 0.0))
    node_at = {key(center): node for node, center in enumerate(found.centers)}
    entered = {
        key(tip - 0.1 * flow): node_at[key(tip + np.abs(along).sum() * flow)]
        for tip, flow in zip(found.tips, found.flow, strict=True)
    }
    reached = set()
    for node, center in enumerate(found.centers):
        todo, seen = [key(center + along), key(center - along)], set()
        while todo:
            point = todo.pop()
            if point in seen:
                continue
            seen.add(point)
            if point in entered:
                reached.add((node, entered[point]))
            todo += leads.get(point, ())
    assert {(u, v) for u, v in edge_index.t().tolist()} <= reached
