import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ppuda_like.errors import GraphError
from ppuda_like.testing import assert_permutation_equivariant, dags


def sum_of_sources(x: Tensor, edge_index: Tensor, weight: Tensor) -> Tensor:
    return torch.zeros_like(x).index_add(0, edge_index[1], x[edge_index[0]] * weight[:, None])


@settings(max_examples=60, deadline=None)
@given(dags(max_nodes=10), st.data())
def test_message_passing_passes(dag: tuple[Tensor, int], data: st.DataObject) -> None:
    edge_index, num_nodes = dag
    order = data.draw(st.permutations(range(num_nodes)))
    x = torch.arange(3.0 * num_nodes, dtype=torch.double).reshape(num_nodes, 3)
    weight = torch.arange(1.0, edge_index.size(1) + 1, dtype=torch.double)
    assert_permutation_equivariant(sum_of_sources, x, edge_index, weight, order=order)


def test_dependence_on_ids_is_found() -> None:
    def ids(x: Tensor, edge_index: Tensor) -> Tensor:
        return x + torch.arange(len(x))[:, None]

    chain = torch.tensor([[0, 1], [1, 2]])
    assert_permutation_equivariant(ids, torch.zeros(3, 1), chain, order=[0, 1, 2])
    with pytest.raises(AssertionError, match=r"depends on the order of the nodes \[1, 0, 2\]"):
        assert_permutation_equivariant(ids, torch.zeros(3, 1), chain, order=[1, 0, 2])


def test_tolerance() -> None:
    def noisy(x: Tensor, edge_index: Tensor) -> Tensor:
        return x + 1e-3 * torch.arange(len(x))[:, None]

    chain = torch.tensor([[0], [1]])
    assert_permutation_equivariant(noisy, torch.ones(2, 1), chain, order=[1, 0], rtol=0.0, atol=1e-2)
    with pytest.raises(AssertionError):
        assert_permutation_equivariant(noisy, torch.ones(2, 1), chain, order=[1, 0], rtol=0.0, atol=1e-4)


def test_bad_order_is_refused() -> None:
    with pytest.raises(GraphError, match=r"every node id 0\.\.1 once \(got \[0, 2\]\)"):
        assert_permutation_equivariant(lambda x, e: x, torch.zeros(2, 1), torch.zeros(2, 0).long(), order=[0, 2])
